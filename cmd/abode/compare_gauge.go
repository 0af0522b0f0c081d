package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/compare"
	"github.com/abode-run/abode/internal/compare/gauge"
)

// gaugeName is the command as which this program runs inside the containers
// that `compare` measures.
const gaugeName = "compare-gauge"

func newCompareGauge(*app) *cobra.Command {
	return &cobra.Command{
		Use:    gaugeName,
		Short:  "Measure from inside a container, for compare",
		Hidden: true,
		Args:   exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return gauge.Serve(compare.GaugeDir, os.Stdin, os.Stdout)
		},
	}
}
