#compdef f2b-client f2b-server f2b-regex
# Completion for zsh: put it into a directory of $fpath as _f2b.
_f2b() {
    local -a candidates
    candidates=("${(@f)$(f2b-client --shell-words -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)}")
    candidates=(${candidates:#})
    if (( $#candidates )); then
        compadd -a candidates
    else
        _files
    fi
}
if [[ $funcstack[1] == _f2b ]]; then
    _f2b "$@"
else
    compdef _f2b f2b-client f2b-server f2b-regex
fi
