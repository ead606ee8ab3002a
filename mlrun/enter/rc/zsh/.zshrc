# The user's own settings first, then the environment before all else.
if [[ -n "$MLRUN_SHELL_ZDOTDIR" ]]; then ZDOTDIR="$MLRUN_SHELL_ZDOTDIR"; else unset ZDOTDIR; fi
if [[ "$HISTFILE" == "$MLRUN_SHELL_RC"/* ]]; then HISTFILE="${ZDOTDIR:-$HOME}/.zsh_history"; fi
unset MLRUN_SHELL_RC
if [[ -r "${ZDOTDIR:-$HOME}/.zshrc" ]]; then source "${ZDOTDIR:-$HOME}/.zshrc"; fi
if [[ -n "$MLRUN_SHELL_PATH" ]]; then PATH="$MLRUN_SHELL_PATH:$PATH"; fi
export PATH
PROMPT="$MLRUN_SHELL_PROMPT$PROMPT"
rehash
