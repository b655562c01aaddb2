"""Before the lease is there, templates may ask it for anything, and are rendered once more later."""

from __future__ import annotations

import jinja2
import pytest

from airflow_lockprovider.operators.lease_template import LeaseTemplate

ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined)


@pytest.mark.parametrize(
    "template",
    [
        "{{ lease }}",
        "{{ lease.token }}",
        "{{ lease['dwh.a'].token }}",
        "{{ lease.tokens['dwh.a'] }}",
        "{{ lease.created_at.isoformat() }}",
        "{{ lease.token + 1 }}",
        "{{ 1 + lease.token }}",
        "{{ '%d' % lease.token }}",
        "{{ lease.token | int }}",
        "{{ lease.remaining | round(1) }}",
        "{{ lease.remaining * 2 / 3 }}",
        "{% if lease.waited > 60 %}late{% endif %}",
        "{% if 60 <= lease.waited %}late{% endif %}",
        "{{ lease.guard | replace('a', 'b') }}",
        "{{ 'dwh.a: ' ~ lease['dwh.a'].token }}",
        "{% for one in lease.leases %}{{ one.token }}{% endfor %}",
        "{% if lease.waited %}late{% endif %}",
        "{{ lease | length }}",
    ],
)
def test_a_field_that_asks_for_the_lease_renders_and_is_noticed(template: str) -> None:
    lease = LeaseTemplate()
    ENVIRONMENT.from_string(template).render(lease=lease)
    assert lease.asked


def test_a_field_that_does_not_ask_is_not_rendered_again() -> None:
    lease = LeaseTemplate()
    assert ENVIRONMENT.from_string("{{ 1 + 1 }}").render(lease=lease) == "2"
    assert not lease.asked
