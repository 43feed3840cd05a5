"""Mine reformulations and utterance spaces from interaction logs, on Spark."""
