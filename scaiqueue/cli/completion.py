"""`scaiqueue completion`: what a shell needs to complete words."""

from __future__ import annotations

from typing import Literal

from scaiqueue.cli import app


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the script that completes commands and options.

    bash: `source <(scaiqueue completion bash)` in ~/.bashrc; zsh: the same in ~/.zshrc; fish:
    `scaiqueue completion fish > ~/.config/fish/completions/scaiqueue.fish`.
    """
    print(app.generate_completion(shell=shell))
