#include "app/completion.h"

#include <string.h>

#include "app/command.h"

static void write_bash(struct dynbuf *out);
static void write_zsh(struct dynbuf *out);
static void write_fish(struct dynbuf *out);

const struct completion_shell completion_shells[] = {
    {"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}, {0}};

/* What an option's argument completes to. */
enum words { WORDS_NONE, WORDS_FILES, WORDS_FOLDERS, WORDS_CHOICES };

static enum words words_of(const char *argument)
{
    if (strcmp(argument, "FILE") == 0)
        return WORDS_FILES;
    if (strcmp(argument, "FOLDER") == 0)
        return WORDS_FOLDERS;
    /* Capitals are a stand-in, as in SECONDS|TIME. */
    return strchr(argument, '|') && argument[0] >= 'a' ? WORDS_CHOICES : WORDS_NONE;
}

static void put_choices(struct dynbuf *out, const char *argument)
{
    for (const char *p = argument; *p; p++)
        (void)dynbuf_append(out, *p == '|' ? " " : p, 1); /* failure sticks */
}

/* In single quotes for a shell; the two differ in how one stands within. */
static void put_quoted(struct dynbuf *out, const char *text, const char *quote)
{
    (void)dynbuf_puts(out, "'");
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            (void)dynbuf_puts(out, quote);
        else
            (void)dynbuf_append(out, p, 1); /* failure sticks */
    }
    (void)dynbuf_puts(out, "'");
}

/* Names of the cameras of the configuration, as `config --effective` heads their sections. */
#define CAMERAS_SED "sed -n 's/^\\[camera:\\(.*\\)\\]$/\\1/p'"

/* ---- bash ---- */

static void write_bash_option_words(const struct command *c, struct dynbuf *out)
{
    for (const struct command_option *o = c->options; o && o->name; o++) {
        if (!o->argument)
            continue;
        (void)dynbuf_printf(out, "    %s.--%s", c->name, o->name);
        if (o->letter)
            (void)dynbuf_printf(out, "|%s.-%c", c->name, o->letter);
        (void)dynbuf_puts(out, ")\n        ");
        switch (words_of(o->argument)) {
        case WORDS_NONE:
            break;
        case WORDS_FILES:
            (void)dynbuf_puts(out, "_snapshotd_paths -f\n        ");
            break;
        case WORDS_FOLDERS:
            (void)dynbuf_puts(out, "_snapshotd_paths -d\n        ");
            break;
        case WORDS_CHOICES:
            (void)dynbuf_puts(out, "_snapshotd_words '");
            put_choices(out, o->argument);
            (void)dynbuf_puts(out, "'\n        ");
            break;
        }
        (void)dynbuf_puts(out, "return ;;\n");
    }
}

static void write_bash_command(const struct command *c, struct dynbuf *out)
{
    (void)dynbuf_printf(out, "    %s)\n        options='", c->name);
    for (const struct command_option *o = c->options; o && o->name; o++)
        (void)dynbuf_printf(out, "--%s ", o->name);
    (void)dynbuf_puts(out, "--help'\n        verbs='");
    for (const struct command_verb *v = c->verbs; v && v->name; v++)
        (void)dynbuf_printf(out, "%s%s", v == c->verbs ? "" : " ", v->name);
    static const char *const operands[COMMAND_OPERAND_COUNT] = {[COMMAND_OPERAND_NONE] = "",
                                                                [COMMAND_OPERAND_FILE] = "file",
                                                                [COMMAND_OPERAND_CAMERA] =
                                                                    "camera"};
    (void)dynbuf_printf(out, "'\n        operand='%s' ;;\n", operands[c->operand]);
}

static void write_bash(struct dynbuf *out)
{
    (void)dynbuf_puts(
        out, "# bash completion of snapshotd; made by `snapshotd completion bash`.\n"
             "_snapshotd_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$current\"); }\n"
             "_snapshotd_paths() {\n"
             "    mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$current\")\n"
             "    compopt -o filenames 2>/dev/null\n"
             "}\n"
             "_snapshotd_cameras() {\n"
             "    local i config=()\n"
             "    for ((i = 2; i + 1 < COMP_CWORD; i++)); do\n"
             "        case ${COMP_WORDS[i]} in -c|--config) config=(-c \"${COMP_WORDS[i + 1]}\") "
             ";; esac\n"
             "    done\n"
             "    _snapshotd_words \"$(\"${COMP_WORDS[0]}\" config --effective \"${config[@]}\" "
             "2>/dev/null |\n        " CAMERAS_SED ")\"\n"
             "}\n"
             "_snapshotd() {\n"
             "    local current=${COMP_WORDS[COMP_CWORD]} options='' verbs='' operand=''\n"
             "    COMPREPLY=()\n"
             "    if ((COMP_CWORD == 1)); then\n"
             "        _snapshotd_words '");
    for (const struct command *const *c = commands; *c; c++)
        (void)dynbuf_printf(out, "%s ", (*c)->name);
    (void)dynbuf_puts(out, "--help --version'\n        return\n    fi\n"
                           "    case ${COMP_WORDS[1]}.${COMP_WORDS[COMP_CWORD - 1]} in\n");
    for (const struct command *const *c = commands; *c; c++)
        write_bash_option_words(*c, out);
    (void)dynbuf_puts(out, "    esac\n    case ${COMP_WORDS[1]} in\n");
    for (const struct command *const *c = commands; *c; c++)
        write_bash_command(*c, out);
    (void)dynbuf_puts(out, "    *)\n        return ;;\n"
                           "    esac\n"
                           "    if [[ $current == -* ]]; then\n"
                           "        _snapshotd_words \"$options\"\n"
                           "    elif [[ $verbs ]] && ((COMP_CWORD == 2)); then\n"
                           "        _snapshotd_words \"$verbs\"\n"
                           "    elif [[ $operand == file ]]; then\n"
                           "        _snapshotd_paths -f\n"
                           "    elif [[ $operand == camera ]]; then\n"
                           "        _snapshotd_cameras\n"
                           "    fi\n"
                           "}\n"
                           "complete -F _snapshotd snapshotd\n");
}

/* ---- zsh ---- */

/* In _arguments a colon ends a message and brackets hold it. */
static void put_zsh_text(struct dynbuf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            (void)dynbuf_puts(out, "'\\''");
        else if (strchr(":[]\\", *p))
            (void)dynbuf_printf(out, "\\%c", *p);
        else if (*p != '`')
            (void)dynbuf_append(out, p, 1); /* failure sticks */
    }
}

static void put_zsh_action(struct dynbuf *out, const char *argument)
{
    (void)dynbuf_puts(out, ":");
    put_zsh_text(out, argument);
    (void)dynbuf_puts(out, ":");
    switch (words_of(argument)) {
    case WORDS_NONE:
        break;
    case WORDS_FILES:
        (void)dynbuf_puts(out, "_files");
        break;
    case WORDS_FOLDERS:
        (void)dynbuf_puts(out, "_files -/");
        break;
    case WORDS_CHOICES:
        (void)dynbuf_puts(out, "(");
        put_choices(out, argument);
        (void)dynbuf_puts(out, ")");
        break;
    }
}

static void write_zsh_option(const char *dashes, const char *name, const struct command_option *o,
                             struct dynbuf *out)
{
    (void)dynbuf_printf(out, " \\\n            '*%s%s[", dashes, name);
    put_zsh_text(out, o->help);
    (void)dynbuf_puts(out, "]");
    if (o->argument)
        put_zsh_action(out, o->argument);
    (void)dynbuf_puts(out, "'");
}

static void write_zsh_command(const struct command *c, struct dynbuf *out)
{
    (void)dynbuf_printf(out, "    %s)\n        _arguments '--help[tells more]'", c->name);
    for (const struct command_option *o = c->options; o && o->name; o++) {
        const char letter[] = {o->letter, '\0'};
        write_zsh_option("--", o->name, o, out);
        if (o->letter)
            write_zsh_option("-", letter, o, out);
    }
    if (c->verbs) {
        (void)dynbuf_puts(out, " \\\n            '1:what:(");
        for (const struct command_verb *v = c->verbs; v->name; v++)
            (void)dynbuf_printf(out, "%s%s", v == c->verbs ? "" : " ", v->name);
        (void)dynbuf_puts(out, ")'");
    }
    if (c->operand == COMMAND_OPERAND_FILE)
        (void)dynbuf_puts(out, " \\\n            '*:file:_files'");
    if (c->operand == COMMAND_OPERAND_CAMERA)
        (void)dynbuf_puts(out, " \\\n            '*:camera:_snapshotd_cameras'");
    (void)dynbuf_puts(out, " ;;\n");
}

static void write_zsh(struct dynbuf *out)
{
    (void)dynbuf_puts(out, "#compdef snapshotd\n"
                           "# zsh completion of snapshotd; made by `snapshotd completion zsh`.\n"
                           "_snapshotd_cameras() {\n"
                           "    local -a cameras\n"
                           "    cameras=(${(f)\"$(snapshotd config --effective 2>/dev/null |\n"
                           "        " CAMERAS_SED ")\"})\n"
                           "    compadd -a cameras\n"
                           "}\n"
                           "_snapshotd() {\n"
                           "    local -a names\n"
                           "    if ((CURRENT == 2)); then\n"
                           "        names=(\n");
    for (const struct command *const *c = commands; *c; c++) {
        (void)dynbuf_printf(out, "            '%s:", (*c)->name);
        put_zsh_text(out, (*c)->summary);
        (void)dynbuf_puts(out, "'\n");
    }
    (void)dynbuf_puts(out, "        )\n"
                           "        _describe command names\n"
                           "        return\n"
                           "    fi\n"
                           "    shift words\n"
                           "    ((CURRENT--))\n"
                           "    case ${words[1]} in\n");
    for (const struct command *const *c = commands; *c; c++)
        write_zsh_command(*c, out);
    (void)dynbuf_puts(out, "    esac\n"
                           "}\n"
                           "if [[ ${funcstack[1]} == _snapshotd ]]; then\n"
                           "    _snapshotd \"$@\"\n"
                           "else\n"
                           "    compdef _snapshotd snapshotd\n"
                           "fi\n");
}

/* ---- fish ---- */

static void begin_fish(const struct command *c, struct dynbuf *out)
{
    (void)dynbuf_printf(out, "complete -c snapshotd -n '__fish_seen_subcommand_from %s'", c->name);
}

static void write_fish_option(const struct command *c, const struct command_option *o,
                              struct dynbuf *out)
{
    begin_fish(c, out);
    (void)dynbuf_printf(out, " -l %s", o->name);
    if (o->letter)
        (void)dynbuf_printf(out, " -s %c", o->letter);
    if (o->argument) {
        (void)dynbuf_puts(out, " -r");
        switch (words_of(o->argument)) {
        case WORDS_NONE:
            (void)dynbuf_puts(out, " -f");
            break;
        case WORDS_FILES:
            (void)dynbuf_puts(out, " -F");
            break;
        case WORDS_FOLDERS:
            (void)dynbuf_puts(out, " -f -a '(__fish_complete_directories)'");
            break;
        case WORDS_CHOICES:
            (void)dynbuf_puts(out, " -f -a '");
            put_choices(out, o->argument);
            (void)dynbuf_puts(out, "'");
            break;
        }
    }
    (void)dynbuf_puts(out, " -d ");
    put_quoted(out, o->help, "\\'");
    (void)dynbuf_puts(out, "\n");
}

static void write_fish_command(const struct command *c, struct dynbuf *out)
{
    (void)dynbuf_printf(out, "complete -c snapshotd -n __fish_use_subcommand -f -a %s -d ",
                        c->name);
    put_quoted(out, c->summary, "\\'");
    (void)dynbuf_puts(out, "\n");
    for (const struct command_option *o = c->options; o && o->name; o++)
        write_fish_option(c, o, out);
    for (const struct command_verb *v = c->verbs; v && v->name; v++) {
        begin_fish(c, out);
        (void)dynbuf_printf(out, " -f -a %s -d ", v->name);
        put_quoted(out, v->help, "\\'");
        (void)dynbuf_puts(out, "\n");
    }
    begin_fish(c, out);
    (void)dynbuf_puts(out, " -l help -d 'tells more'\n");
    if (c->operand == COMMAND_OPERAND_FILE) {
        begin_fish(c, out);
        (void)dynbuf_puts(out, " -F\n");
    }
    if (c->operand == COMMAND_OPERAND_CAMERA) {
        begin_fish(c, out);
        (void)dynbuf_puts(out, " -f -a '(__snapshotd_cameras)'\n");
    }
}

static void write_fish(struct dynbuf *out)
{
    (void)dynbuf_puts(out,
                      "# fish completion of snapshotd; made by `snapshotd completion fish`.\n"
                      "function __snapshotd_cameras\n"
                      "    snapshotd config --effective 2>/dev/null | " CAMERAS_SED "\n"
                      "end\n"
                      "complete -c snapshotd -f\n"
                      "complete -c snapshotd -n __fish_use_subcommand -l help -d 'tells more'\n"
                      "complete -c snapshotd -n __fish_use_subcommand -l version -d 'the "
                      "version'\n");
    for (const struct command *const *c = commands; *c; c++)
        write_fish_command(*c, out);
}
