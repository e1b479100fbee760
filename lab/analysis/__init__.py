"""What trials say: their records, statistics over them, gates, predictions, the verdict."""
