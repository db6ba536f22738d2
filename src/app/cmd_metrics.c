/* snapshotd metrics: what there is to watch. */

#include <getopt.h>
#include <stdio.h>

#include "app/command.h"
#include "app/metric_rows.h"
#include "base/dynbuf.h"
#include "base/metrics.h"

static int run(int argc, char **argv);

enum { OPTION_REFERENCE = COMMAND_OPTION_ID };

static const struct command_option option_rows[] = {
    {0, "reference", NULL, OPTION_REFERENCE, "every metric with its kind, label and meaning"},
    {0},
};

const struct command command_metrics = {
    .name = "metrics",
    .arguments = "--reference",
    .summary = "prints the reference of all metrics (Markdown); a daemon shows theirs at /metrics",
    .options = option_rows,
    .run = run,
};

/* Some hundred rows. */
#define DOCUMENT_MAX ((size_t)1 << 20)

static int run(int argc, char **argv)
{
    bool reference = false;
    int opt;
    while ((opt = command_next_option(&command_metrics, argc, argv)) != -1) {
        if (opt == 'h')
            return command_help(&command_metrics);
        if (opt != OPTION_REFERENCE)
            return command_usage(&command_metrics, NULL); /* getopt has said it */
        reference = true;
    }
    if (optind < argc)
        return command_usage(&command_metrics, "unexpected \"%s\"", argv[optind]);
    if (!reference)
        return command_usage(&command_metrics, "say --reference");
    AUTO_DONE(dynbuf) out;
    dynbuf_init(&out, DOCUMENT_MAX);
    metric_rows_register_all();
    metrics_write_reference(&out);
    if (out.failed)
        return command_error(EXIT_FAILED, "the document is too large");
    if (fwrite(dynbuf_str(&out), 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        return command_error(EXIT_FAILED, "cannot write to standard output");
    return EXIT_DONE;
}
