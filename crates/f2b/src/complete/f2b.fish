# Completion for fish: put it into ~/.config/fish/completions as f2b-client.fish, f2b-server.fish and f2b-regex.fish.
function __f2b
    set -l words (commandline -opc) (commandline -ct)
    f2b-client --shell-words -- $words 2>/dev/null
end
for program in f2b-client f2b-server f2b-regex
    complete -c $program -a '(__f2b)'
end
