"""The command ``export``: alerts in the forms of others, for a SIEM (OCSF) and for sharing indicators (STIX)."""
