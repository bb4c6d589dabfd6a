"""`jobctl completion`: what teaches a shell to complete jobctl's command lines.

The scripts are thin: each hands the line to `jobctl __complete`, whose first line of output says how to read the rest.
"""

from jobctl.arguments import Arguments
from jobctl.exit_codes import ExitCode

_BASH = """\
# bash completion for jobctl; in ~/.bashrc:  source <(jobctl completion bash)
_jobctl() {
    local line first=1
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ -n $first ]]; then
            first=
            case $line in
                files) compopt -o default 2>/dev/null ;;
                dirs) compopt -o dirnames 2>/dev/null ;;
                open) compopt -o nospace 2>/dev/null ;;
            esac
            compopt -o nosort 2>/dev/null
        else
            COMPREPLY+=("$line")
        fi
    done < <("$1" __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -F _jobctl jobctl
"""
_ZSH = """\
#compdef jobctl
# zsh completion for jobctl; in ~/.zshrc, after compinit:  source <(jobctl completion zsh)
_jobctl() {
    local -a lines
    lines=("${(@f)$("${words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    local how=${lines[1]}
    lines=("${(@)lines[2,-1]}")
    case $how in
        files) compset -P '*='; _files ;;
        dirs) _files -/ ;;
        open) _describe -V jobctl lines -S '' ;;
        values) _describe -V jobctl lines ;;
    esac
}
compdef _jobctl jobctl
"""
_FISH = """\
# fish completion for jobctl; in ~/.config/fish/config.fish:  jobctl completion fish | source
function __jobctl_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] __complete fish $words[2..-1] 2>/dev/null)
    switch $lines[1]
        case files
            set -l before (string match -r '^[^=]*=' -- $words[-1])
            for path in (__fish_complete_path (string replace -r '^[^=]*=' '' -- $words[-1]))
                echo "$before$path"
            end
        case dirs
            __fish_complete_directories (commandline -ct) ''
        case '*'
            printf '%s\\n' $lines[2..-1]
    end
end
complete -c jobctl -e
complete -c jobctl -f -k -a '(__jobctl_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(arguments: Arguments) -> ExitCode:
    """Print the script for a shell."""
    print(_SCRIPTS[arguments.name], end="")
    return ExitCode.SUCCEEDED
