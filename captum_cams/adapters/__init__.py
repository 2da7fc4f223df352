"""Explainers around code of others: functions, Captum's attributions, stored maps, and objects of other libraries."""
