"""The service: policy, facts and the contracts of the clouds."""
