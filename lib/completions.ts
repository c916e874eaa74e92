/**
 * What a shell needs to complete a command line, made from the same tables that read it.
 */
import { FLAGS, NOT_IN_CHAT, SHELLS, type Shell, SUBCOMMANDS, VALUES } from "./options.ts";

/** What can follow an option; "" is anything, and only the user knows it. */
const VALUES_OF: Readonly<Record<string, string>> = { "--time": "12 24 off", "--discover": "lan loopback off" };
const DIRECTORY = "--data";
const commands = Object.entries(SUBCOMMANDS);
const commandWords = commands.map(([name]) => name).join(" ");
const inChat = [...Object.keys(VALUES), ...FLAGS, "--help", "--version"].filter(word => !NOT_IN_CHAT.includes(word));

export function completionsFor(shell: Shell): string {
  return { bash, zsh, fish }[shell]();
}

function bash(): string {
  return `# bash completion of p2pchat. To have it: eval "$(p2pchat completions bash)"
_p2pchat() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words
  case $before in
    ${DIRECTORY}) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current")); return ;;
${valueCases("COMPREPLY=($(compgen -W '@' -- \"$current\")); return")}
  esac
  case \${COMP_WORDS[1]} in
${commandCases()}
    *) words='${inChat.join(" ")}' ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words='${commandWords} ${inChat.join(" ")}'; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _p2pchat p2pchat
`;
}

function zsh(): string {
  return `#compdef p2pchat
# zsh completion of p2pchat. To have it: eval "$(p2pchat completions zsh)"
_p2pchat() {
  local words_ before=\${words[CURRENT-1]}
  case $before in
    ${DIRECTORY}) _files -/; return ;;
${valueCases("compadd -- @; return")}
  esac
  case \${words[2]} in
${commandCases().replaceAll("words=", "words_=")}
    *) words_='${inChat.join(" ")}' ;;
  esac
  if (( CURRENT == 2 )); then words_='${commandWords} ${inChat.join(" ")}'; fi
  compadd -- \${=words_}
}
compdef _p2pchat p2pchat
`;
}

function fish(): string {
  const none = `not __fish_seen_subcommand_from ${commandWords}`;
  const option = (word: string, condition: string) => {
    const value = word === DIRECTORY ? ` -xa '(__fish_complete_directories)'` : valueWord(word);
    return `complete -c p2pchat -n '${condition}' -l ${word.slice(2)}${value}`;
  };
  return [
    "# fish completion of p2pchat. To have it: p2pchat completions fish | source",
    "complete -c p2pchat -f",
    `complete -c p2pchat -n '__fish_is_first_token' -a '${commandWords}'`,
    `complete -c p2pchat -n '__fish_seen_subcommand_from completions' -a '${SHELLS.join(" ")}'`,
    ...inChat.map(word => option(word, none)),
    ...commands.flatMap(([name, { options }]) =>
      options.map(word => option(word, `__fish_seen_subcommand_from ${name}`)),
    ),
    "",
  ].join("\n");
}

function valueWord(option: string): string {
  if (!Object.hasOwn(VALUES, option)) return "";
  const values = VALUES_OF[option];
  return values === undefined ? " -x" : ` -xa '${values}'`;
}

/** Cases of the word before the one that is completed; "@" in `then` stands for what can come. */
function valueCases(then: string): string {
  const open = Object.keys(VALUES).filter(option => option !== DIRECTORY && VALUES_OF[option] === undefined);
  const known = [...Object.entries(VALUES_OF), ["completions", SHELLS.join(" ")] as const];
  return [
    ...known.map(([word, values]) => `    ${word}) ${then.replace("@", values)} ;;`),
    `    ${open.join("|")}) return ;;`,
  ].join("\n");
}

function commandCases(): string {
  return commands.map(([name, { options }]) => `    ${name}) words='${options.join(" ")}' ;;`).join("\n");
}
