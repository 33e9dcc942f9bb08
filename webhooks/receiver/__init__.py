"""A receiver of the registry's events: purges the serving cache, asks for judgements."""
