#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/options.h"
#include "base/dynbuf.h"

static int run(int argc, char **argv);

static const struct command_option option_rows[] = {
    {'s', "sample", NULL, 0, "a file with every key and its default, as comments"},
    {'r', "reference", NULL, 0, "the reference of all sections and keys (Markdown)"},
    {'e', "effective", NULL, 0, "every value in force, and where it comes from"},
    APP_OPTION_ROWS,
    {0},
};

const struct command command_config = {
    .name = "config",
    .arguments = "--sample | --reference | --effective [-c FILE]",
    .summary = "prints a sample, the reference, or the configuration in force",
    .options = option_rows,
    .run = run,
};

/* The reference is the longest document, some 30 KB; effective grows by 2 KB per camera, of which
 * there are at most 1000. */
#define DOCUMENT_MAX ((size_t)8 << 20)

enum document { DOCUMENT_NONE, DOCUMENT_SAMPLE, DOCUMENT_REFERENCE, DOCUMENT_EFFECTIVE };

static int write_document(enum document which, const struct app_options *o, struct dynbuf *out);

static int run(int argc, char **argv)
{
    enum document which = DOCUMENT_NONE;
    struct app_options o = {0};
    int opt;

    while ((opt = command_next_option(&command_config, argc, argv)) != -1) {
        if (app_options_take(&o, opt, optarg))
            continue;
        if (opt == 'h')
            return command_help(&command_config);
        if (opt == '?')
            return command_usage(&command_config, NULL); /* getopt has said it */
        if (which != DOCUMENT_NONE)
            return command_usage(&command_config, "only one document at a time");
        which = opt == 's' ? DOCUMENT_SAMPLE : opt == 'r' ? DOCUMENT_REFERENCE : DOCUMENT_EFFECTIVE;
    }
    if (optind < argc)
        return command_usage(&command_config, "unexpected \"%s\"", argv[optind]);
    if (which == DOCUMENT_NONE)
        return command_usage(&command_config, "which document?");
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, DOCUMENT_MAX);
    int status = write_document(which, &o, &out);
    if (status != EXIT_DONE)
        return status;
    if (fwrite(dynbuf_str(&out), 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        return command_error(EXIT_FAILED, "cannot write to standard output");
    return EXIT_DONE;
}

static int write_document(enum document which, const struct app_options *o, struct dynbuf *out)
{
    AUTO(app_config) config = NULL;
    int r = 0;

    switch (which) {
    case DOCUMENT_NONE:
        break;
    case DOCUMENT_SAMPLE:
        r = cfg_write_sample(&app_schema, out);
        break;
    case DOCUMENT_REFERENCE:
        r = cfg_write_reference(&app_schema, out);
        break;
    case DOCUMENT_EFFECTIVE: {
        int status = app_options_load_or_say(o, &config);
        if (status != EXIT_DONE)
            return status;
        r = cfg_write_effective(config->cfg, out);
        break;
    }
    }
    return r < 0 ? command_error(EXIT_FAILED, "the document is too large") : EXIT_DONE;
}
