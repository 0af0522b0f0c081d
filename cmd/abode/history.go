package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/format"
)

var historyHeaders = format.Headers{
	"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
}

const historyTable = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"

// historyRow is one step of an image's history.
type historyRow struct {
	Comment, CreatedAt, CreatedBy, CreatedSince, ID, Size string
}

func newHistory(a *app) *cobra.Command {
	var human, noTrunc, quiet bool
	var fmtFlag, platform string
	cmd := &cobra.Command{
		Use:   "history [OPTIONS] IMAGE",
		Short: "List the steps that made an image",
		Long:  `List the steps that made an image, the last first, with the size each added.`,
		Example: `  abode history nginx
  abode history --no-trunc --format '{{.CreatedBy}}' nginx`,
		Args: exactly(1),
	}
	f := cmd.Flags()
	f.BoolVar(&human, "human", true, "sizes and times in words")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten anything")
	f.BoolVarP(&quiet, "quiet", "q", false, "IDs alone")
	f.StringVar(&fmtFlag, "format", "", "json, or a Go template, perhaps after the word table")
	f.StringVar(&platform, "platform", "", "platform of the image (OS/ARCH[/VARIANT])")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		var options []client.ImageHistoryOption
		p, err := flags.Platform(platform)
		if err != nil {
			return err
		}
		if p != nil {
			options = append(options, client.ImageHistoryWithPlatform(*p))
		}
		r, err := c.ImageHistory(ctx, args[0], options...)
		if err != nil {
			return err
		}
		var rows []historyRow
		for _, item := range r.Items {
			rows = append(rows, newHistoryRow(item, human, noTrunc))
		}
		if quiet && fmtFlag == "" {
			fmtFlag = "{{.ID}}"
		}
		return format.Write(a.out, fmtFlag, historyTable, historyHeaders, rows)
	})
	return cmd
}

func newHistoryRow(h image.HistoryResponseItem, human, noTrunc bool) historyRow {
	created := time.Unix(h.Created, 0)
	r := historyRow{
		ID: h.ID, Comment: h.Comment, CreatedBy: strings.ReplaceAll(h.CreatedBy, "\t", " "),
		CreatedAt: created.Format(time.RFC3339), CreatedSince: created.Format(time.RFC3339), Size: strconv.FormatInt(h.Size, 10),
	}
	if human {
		r.Size = units.HumanSizeWithPrecision(float64(h.Size), 3)
		r.CreatedSince = "N/A"
		if h.Created > 0 {
			r.CreatedSince = ago(created)
		}
	}
	if !noTrunc {
		r.CreatedBy = format.Ellipsis(r.CreatedBy, 45)
		if r.ID != "<missing>" {
			r.ID = format.ShortID(r.ID)
		}
	}
	return r
}
