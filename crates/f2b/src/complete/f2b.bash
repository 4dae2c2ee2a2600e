# Completion for bash: source it, or put it into /usr/share/bash-completion/completions as f2b-client.
_f2b() {
    local candidates IFS=$'\n'
    # A colon parts words for bash, which addresses have; so the word is put together again.
    local line=${COMP_LINE:0:COMP_POINT} words=()
    IFS=$' \t' read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    candidates=$(f2b-client --shell-words -- "${words[@]}" 2>/dev/null)
    local last=${words[-1]}
    local cut=""
    [[ $last == *:* ]] && cut=${last%"${last##*:}"}
    COMPREPLY=()
    local candidate
    for candidate in $candidates; do
        COMPREPLY+=("${candidate#"$cut"}")
    done
}
complete -o default -F _f2b f2b-client f2b-server f2b-regex
