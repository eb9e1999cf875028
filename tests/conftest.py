from hypothesis import settings

# A busy machine is no bug: what takes too long is the concern of the whole run.
settings.register_profile("p2ptui", deadline=None)
settings.load_profile("p2ptui")
