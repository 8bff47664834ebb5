#!/bin/bash
# completion_test.sh HANDOFF SHELL: has a real shell complete the command by the code
# that it prints for that shell.
set -euo pipefail

handoff=$(realpath "$1")
shell=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$handoff" completion "$shell" >code
mkdir runtime
touch "runtime/hand off"

failed=0
# expect WHAT WANTED GOT: GOT's words, in any order, are WANTED.
expect() {
  local wanted got
  wanted=$(tr ' ' '\n' <<<"$2" | sort)
  got=$(tr ' ' '\n' <<<"$3" | sed '/^$/d' | sort)
  [[ $wanted == "$got" ]] && return
  echo "$shell completes '$1' with '$3', not '$2'" >&2
  failed=1
}

in_bash() {  # WORD...: what the last of them is completed with.
  bash --norc -c '
    source code
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _handoff
    printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

in_fish() {  # The command line.
  # The part behind the tab is the description.
  HOME=$folder fish --no-config -c 'source code; complete -C $argv' "$1" | cut -f1
}

# The code for zsh runs in zsh's line editor alone: what can be said of it without
# one is that zsh can read it, and that it defines its function and gives it the
# command.
zsh_defines() {
  HOME=$folder zsh -f -c '
    autoload -Uz compinit && compinit -D -u
    source ./code
    echo $+functions[_handoff] ${_comps[handoff]}'
}

case $shell in
  bash)
    expect "handoff st" status "$(in_bash handoff st)"
    expect "handoff list --fo" --format "$(in_bash handoff list --fo)"
    expect "handoff --ha" --handoff "$(in_bash handoff --ha)"
    expect "handoff --format js" json "$(in_bash handoff --format js)"
    # As bash splits --format=js.
    expect "handoff list --format=" "text json" "$(in_bash handoff list --format =)"
    expect "handoff list --format=js" json "$(in_bash handoff list --format = js)"
    expect "handoff completion " "bash fish zsh --help" "$(in_bash handoff completion '')"
    expect "handoff help le" ledger "$(in_bash handoff help le)"
    expect "handoff --handoff=list li" list "$(in_bash handoff --handoff = list li)"
    expect "handoff list --timeout " "" "$(in_bash handoff list --timeout '')"
    [[ $(in_bash handoff --handoff runtime/) == "runtime/hand off" ]] ||
      expect "handoff --handoff runtime/" "(a file)" "$(in_bash handoff --handoff runtime/)"
    [[ $(in_bash handoff rehearse -- runtime/) == "runtime/hand off" ]] ||
      expect "handoff rehearse -- runtime/" "(a file)" "$(in_bash handoff rehearse -- runtime/)"
    ;;
  fish)
    expect "handoff st" status "$(in_fish 'handoff st')"
    expect "handoff list --fo" --format "$(in_fish 'handoff list --fo')"
    expect "handoff list --format js" json "$(in_fish 'handoff list --format js')"
    expect "handoff completion " "bash fish zsh" "$(in_fish 'handoff completion ')"
    expect "handoff help le" ledger "$(in_fish 'handoff help le')"
    ;;
  zsh)
    zsh -n code || failed=1
    expect "(defines)" "1 _handoff" "$(zsh_defines)"
    ;;
esac
exit "$failed"
