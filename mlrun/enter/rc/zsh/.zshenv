# `mlrun shell`: zsh looks for its files here; the user's own are read from where they are.
MLRUN_SHELL_RC="$ZDOTDIR"
if [[ -n "$MLRUN_SHELL_ZDOTDIR" ]]; then ZDOTDIR="$MLRUN_SHELL_ZDOTDIR"; else unset ZDOTDIR; fi
if [[ -r "${ZDOTDIR:-$HOME}/.zshenv" ]]; then source "${ZDOTDIR:-$HOME}/.zshenv"; fi
if [[ -n "$ZDOTDIR" ]]; then MLRUN_SHELL_ZDOTDIR="$ZDOTDIR"; fi
ZDOTDIR="$MLRUN_SHELL_RC"
