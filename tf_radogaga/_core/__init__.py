"""Ground that knows nothing of models: numbers, seeds, replicas, configurations, frames, directories."""
