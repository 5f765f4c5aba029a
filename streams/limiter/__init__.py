"""Interfaces for limiters and gateways: Redis reader, Envoy's rate limit service, HTTP checks, LiteLLM, intake."""
