from hypothesis import HealthCheck, settings

# A busy machine is no bug: what takes too long is the concern of the whole run.
settings.register_profile("p2ptui", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("p2ptui")
