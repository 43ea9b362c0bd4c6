"""What all tests share."""

from hypothesis import HealthCheck, settings

# How long an example takes tells how busy the machine is.
settings.register_profile("runsd", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow]))
settings.load_profile("runsd")
