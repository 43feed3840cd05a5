"""One turn of the loop every night, called from Airflow; steps and their resuming are in `reprise run`."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

RUN = "reprise run /data/logs/{{ ds }} --registry /data/reprise --state /data/serve-state"
REPORT = "reprise experiment report $(ls -td /data/reprise/steps/mine-*/mined | head -1) --registry /data/reprise --act"

WATCH = "reprise experiment watch /data/logs/current --registry /data/reprise --state /data/serve-state --act"

with DAG("reprise", schedule="0 2 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1):
    run = BashOperator(
        task_id="run",
        bash_command=RUN,
        retries=3,
        retry_delay=timedelta(minutes=10),
        skip_on_exit_code=3,  # a gate failed: nothing was published, and the report says why
    )
    run >> BashOperator(task_id="report", bash_command=REPORT, trigger_rule="all_done")

with DAG("reprise_watch", schedule="15 * * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1):
    watch = BashOperator(task_id="watch", bash_command=WATCH)
