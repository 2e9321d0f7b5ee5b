"""`dbbridge proxy`: the dual-write layer over HTTP, for applications in any language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bridge.cli.context import Context, of

if TYPE_CHECKING:
    from bridge.databases.endpoint import Endpoint


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(
        epilog="Example: dbbridge proxy",
        help="Take JSON over HTTP and write it where the authority is, and to the other side. Ends"
        " on SIGTERM once what is under way is done.",
    )
    def proxy(ctx: typer.Context) -> None:
        from bridge.cli.signals import at_once

        with at_once():
            run(of(ctx))


def run(context: Context) -> None:
    """Serves until its end; raises ConfigError and the servers' errors before it listens."""
    from bridge.dualwrite.authority import make_tables
    from bridge.dualwrite.http import serve
    from bridge.dualwrite.http.auth import Tokens
    from bridge.dualwrite.opening import database_of
    from bridge.errors import ConfigError
    from bridge.observe.logs import set_up
    from bridge.store.migrate import migrate

    settings = context.settings
    proxy = settings.proxy
    serve.where(proxy)
    if not proxy.tokens:
        raise ConfigError(
            "proxy.tokens names nobody who may call",
            "add proxy: {tokens: [{name: shop, token: '${SHOP_TOKEN}', allow: ['*:*']}]}",
        )
    tokens = Tokens.of(proxy.tokens, settings.tokens())
    places = serve.Places(
        context.source_endpoint,
        context.target_endpoint,
        _endpoint(context, proxy.source, context.source_endpoint),
        _endpoint(context, proxy.target, context.target_endpoint),
    )
    plans = context.plans()
    make_tables(context.source(), database_of(places.source))
    migrate(context.target(autocommit=True))
    context.closing.close()
    set_up(debug=context.debug)
    backend = serve.open_backend(context.pipeline, places, plans, proxy.limits.threads)
    context.closing.callback(backend.dual.close)

    def listening(address: str) -> None:
        context.out.line(f"listening on {address}")
        context.out.json({"listening": address})
        context.out.stdout.flush()

    folder = settings.path.parent
    files = tuple(str(folder / each) if each else "" for each in (proxy.tls.cert, proxy.tls.key))
    serve.serve(backend, proxy, tokens, (files[0], files[1]), listening)


def _endpoint(context: Context, name: str, default: Endpoint) -> Endpoint:
    return context.settings.endpoint(name) if name else default
