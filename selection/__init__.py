"""Pick the few logged utterances worth retraining the NLU model on."""
