"""The app around the chat screen: themes, the palette, quitting, and errors that a person can read."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterable
from typing import ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import ThemeProvider
from textual.widgets import TextArea
from textual.widgets.text_area import Selection

from agentmem_tui.collecting import IdleCollector
from agentmem_tui.contrast import HIGH_CONTRAST
from agentmem_tui.conversation import Conversation
from agentmem_tui.keys import keymap
from agentmem_tui.palette import commands
from agentmem_tui.restyling import SightFirst
from agentmem_tui.screens.chat import ChatScreen
from agentmem_tui.screens.dialog import Palette
from agentmem_tui.tasks import said

_COLLECT_SECONDS = 1.0
_HANGUP_SECONDS = 3.0
"""Time to leave by after the terminal went away: Textual's threads may wait for it without end."""


class ChatApp(App[None]):
    """`agentmem chat`. Make it with `agentmem_tui.make_app`."""

    TITLE = "agentmem"
    CSS_PATH = "styles.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit"),
        Binding("ctrl+c", "interrupt", "Copy, cancel or quit", show=False, priority=True, id="app.interrupt"),
        Binding("f1", "help", "Keys", show=False, id="app.help"),
    ]

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self.stylesheet = SightFirst(variables=self.get_css_variables())
        self.conversation = conversation
        self._collector: IdleCollector | None = None
        self._own_keys = keymap(conversation.settings.keys)
        self.register_theme(HIGH_CONTRAST)

    def get_default_screen(self) -> Screen[None]:
        return ChatScreen(self.conversation)

    async def on_event(self, event: events.Event) -> None:
        if self._collector is not None and isinstance(event, events.InputEvent):
            self._collector.touch()
        if self.screen_stack or not isinstance(event, events.InputEvent):  # a key may come when all screens have gone
            await super().on_event(event)

    def on_mount(self) -> None:
        self.set_keymap(self._own_keys)
        self._collector = IdleCollector()
        self.set_interval(_COLLECT_SECONDS, self._collect)
        if sys.platform != "win32":
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, self.exit)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def on_unmount(self) -> None:
        if self._collector is not None:
            self._collector.end()

    def _collect(self) -> None:
        chat = self.screen_stack[0] if self.screen_stack else None
        if self._collector is not None:
            self._collector.collect(busy=isinstance(chat, ChatScreen) and chat.busy)

    def _hang_up(self) -> None:
        """Leave although no terminal takes part in it; what was acknowledged is on the disk, whatever happens."""
        last_resort = threading.Timer(_HANGUP_SECONDS, os._exit, [128 + signal.SIGHUP])
        last_resort.daemon = True
        last_resort.start()
        self.exit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        yield from commands(screen, self.conversation.key)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def action_help(self) -> None:
        """Show the keys that work here, or hide them."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
            return
        if isinstance(self.screen, ChatScreen):
            self.screen.make_room()
        self.action_show_help_panel()

    def action_interrupt(self) -> None:
        """Ctrl+C: copy what is marked; with nothing marked cancel the answer; with none coming, quit."""
        if marked := self._take_marked():
            self.copy_to_clipboard(marked)
            self.notify("Copied", timeout=2)
        elif isinstance(self.screen, ChatScreen) and self.screen.streaming:
            self.screen.action_cancel()
        else:
            self.exit()

    def _take_marked(self) -> str | None:
        """The marked text, marked no longer."""
        area = self.focused
        if isinstance(area, TextArea) and area.selected_text:
            text = area.selected_text
            area.selection = Selection.cursor(area.cursor_location)
            return text
        marked = self.screen.get_selected_text()
        self.screen.clear_selection()
        return marked

    def _fatal_error(self) -> None:
        """Textual's last resort is a traceback; a person gets one line and the log gets the rest."""
        error = sys.exc_info()[1]
        detail = said(error) if isinstance(error, Exception) else "unknown error"
        self.panic(f"agentmem chat had to stop: {detail}. What was said is in the store.")
