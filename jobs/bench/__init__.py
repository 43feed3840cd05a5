"""Side-by-side measurements: `reprise bench …`. Each writes JSON that other programs read."""

import typer

from jobs.bench import chain, corrections, decode, mine, neighbours, offpolicy, quality, select, serve

app = typer.Typer(no_args_is_help=True, help="Side-by-side measurements, written as JSON and a plot.")
app.command("decode")(decode.decode)
app.command("corrections")(corrections.corrections)
app.command("mine")(mine.mine)
app.command("chain")(chain.chain)
app.command("neighbours")(neighbours.neighbours)
app.command("quality")(quality.quality)
app.command("offpolicy")(offpolicy.offpolicy)
app.command("select")(select.select)
app.command("serve")(serve.serve)
