"""Steps that several of the example DAGs share.

Airflow puts the dags folder on ``sys.path``, so a DAG file imports ``shared_steps.node_b`` by that name;
``.airflowignore`` keeps Airflow from looking for DAGs in here.
"""

from __future__ import annotations
