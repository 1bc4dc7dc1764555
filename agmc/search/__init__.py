"""The search: budget, reward, environment, evaluator and the loop that joins them."""
