"""The testbed of containers: a Docker engine gives each trial a network of its own."""
