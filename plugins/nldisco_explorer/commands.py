"""The commands of this plugin; each imports what it needs when it is run."""

from __future__ import annotations

import os
from pathlib import Path

import click

from nldisco_explorer.oauth import PROVIDERS, settings_help

__all__ = ["serve", "share"]


class _Bar:
    """Shows on a terminal how far a task is."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._bar = tqdm(disable=None, leave=False, bar_format="{desc} {bar} {n_fmt} of {total_fmt}")

    def __call__(self, done: int, total: int, at_hand: str) -> None:
        self._bar.total, self._bar.n = total, done
        self._bar.set_description_str(at_hand)
        if done == total:
            self._bar.close()


RUNS_DIR = click.option(
    "--runs-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default="runs",
    show_default=True,
    help="Where runs are looked up by name.",
)


@click.command()
@click.argument("run")
@RUNS_DIR
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.  [default: the run's name, ending in .html]",
)
@click.option("--latents", type=click.IntRange(min=1), default=100, show_default=True, help="Most latents drawn in it.")
def share(run: str, runs_dir: Path, file: Path | None, latents: int) -> None:
    """Write one HTML file that shows a run without a server.

    RUN is a folder, a run's name or a unique start of it. The file holds the overview, the ranked table and the Latent
    page of the latents with the most evidence, and asks for nothing from anywhere.
    """
    from nldisco_core.runs import find_run

    found = find_run(run, runs_dir)
    from nldisco_explorer.share.page import share as share_run

    written = share_run(found, file or Path(f"{found.name}.html"), n_latents=latents, progress=_Bar())
    click.echo(
        f"{written.file}: {written.n_latents} of {written.n_all} latents, {written.n_bytes / 1e6:.1f} MB; "
        "open it in a browser"
    )


@click.command(epilog=settings_help())
@click.argument("run", nargs=-1, required=True)
@RUNS_DIR
@click.option("--port", type=click.IntRange(0, 65535), default=5006, show_default=True, help="0 takes any free port.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address of this machine to listen on.")
@click.option(
    "--auth",
    type=click.Choice(["password", *PROVIDERS]),
    help="Ask visitors who they are: a password, from NLDISCO_PASSWORD, or an OAuth provider; see below.",
)
@click.option(
    "--password-file", type=click.Path(dir_okay=False, path_type=Path), help="Holds the password in its first line."
)
@click.option("--allow-user", multiple=True, help="Who may come in, once for each; an OAuth provider needs it.")
@click.option(
    "--allow-origin", multiple=True, metavar="HOST:PORT", help="What visitors type to get here, beside this machine."
)
@click.option("--read-only", is_flag=True, help="Show notes and take none.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
def serve(
    run: tuple[str, ...],
    runs_dir: Path,
    port: int,
    address: str,
    auth: str | None,
    password_file: Path | None,
    allow_user: tuple[str, ...],
    allow_origin: tuple[str, ...],
    read_only: bool,
    no_browser: bool,
) -> None:
    """Show runs in a browser.

    RUN is a folder, a run's name or a unique start of it. Only this machine is let in, unless --auth asks others who
    they are.
    """
    from nldisco_core.runs import find_run

    found = [find_run(token, runs_dir) for token in run]
    from nldisco_explorer.access import read_access
    from nldisco_explorer.server import serve as serve_runs

    access = None
    if auth is not None:
        access = read_access(auth, password_file=password_file, users=allow_user, environment=os.environ)
        click.echo("what is sent can be read on the way; put a server that speaks https before this one", err=True)

    serve_runs(
        found,
        port=port,
        address=address,
        origins=allow_origin,
        access=access,
        may_write=not read_only,
        open_browser=not no_browser,
        progress=_Bar(),
        announce=lambda url: click.echo(f"explorer on {url} (Ctrl-C stops it)"),
    )
