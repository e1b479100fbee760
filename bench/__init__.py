"""Side-by-side measurements of the generator. `python -m bench` lists them; each is one command."""
