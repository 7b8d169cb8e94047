"""The terminal interface of agentmem, found through the entry point `agentmem.ui`. Textual is imported at first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentmem.types import Namespace

if TYPE_CHECKING:
    from agentmem import Memory
    from agentmem.agent import ChosenModel
    from agentmem.config import Settings
    from agentmem.interfaces import Clock
    from agentmem_tui.app import ChatApp

__all__ = ["make_app", "run"]


def make_app(
    memory: Memory,
    *,
    namespace: Namespace,
    chosen: ChosenModel,
    settings: Settings | None = None,
    session: str | None = None,
    clock: Clock | None = None,
    private: bool = False,
) -> ChatApp:
    """The app, for the command line and for tests alike.

    `session` None starts a new one. `clock` is for pictures and tests that must not change with the day.
    """
    from agentmem_tui.app import ChatApp
    from agentmem_tui.conversation import Conversation

    return ChatApp(
        Conversation(
            memory,
            namespace=namespace,
            chosen=chosen,
            settings=settings,
            session=session,
            clock=clock,
            private=private,
        )
    )


def run(
    memory: Memory,
    settings: Settings,
    *,
    namespace: Namespace,
    session: str | None,
    chosen: ChosenModel,
    private: bool = False,
    web_port: int | None = None,
) -> int:
    """Talk until the user leaves; return the exit code. The memory stays open: it is the caller's to close.

    With `web_port` the chat is served to a browser on this machine instead.
    """
    if web_port is not None:
        from agentmem_tui import web

        words = web.command(settings, namespace, session, private=private)
        return web.serve(words, settings.store, web_port)
    app = make_app(memory, namespace=namespace, chosen=chosen, settings=settings, session=session, private=private)
    app.run()
    return app.return_code or 0
