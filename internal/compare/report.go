package compare

import "time"

// Report is all that a comparison found. Its JSON is what --json prints: times
// are seconds, sizes bytes.
type Report struct {
	Version     int          `json:"version"` // of this form
	Began       time.Time    `json:"began"`
	Image       string       `json:"image"`
	ImageID     string       `json:"imageID"`
	Command     []string     `json:"command"` // empty: the image's own
	HTTP        string       `json:"http,omitempty"`
	Repeat      int          `json:"repeat"`
	Settle      float64      `json:"settle"`
	Rest        float64      `json:"rest"`
	Limit       float64      `json:"limit"`
	Throughput  bool         `json:"throughput"` // was asked for
	Machine     Machine      `json:"machine"`
	Verdict     []string     `json:"verdict"`
	Contestants []Contestant `json:"contestants"`
	Absent      []Missing    `json:"absent"` // contestants that could not take part
}

// Machine is where it was measured.
type Machine struct {
	Kernel string `json:"kernel"`
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory"`
}

// Contestant is one that took part, and how it did.
type Contestant struct {
	Name       string          `json:"name"` // container, vm, docker or podman
	Engine     string          `json:"engine"`
	ImageID    string          `json:"imageID"`
	ImageBytes int64           `json:"imageBytes"`
	Metrics    map[string]Stat `json:"metrics"` // by the metric's key; without those that were not measured
	Prepared   int             `json:"prepared"`
	Isolation  Facts           `json:"isolation"`
	Runs       []Run           `json:"runs"`
	Missing    []Missing       `json:"missing"`
}

// Missing is something that was not measured, and why.
type Missing struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Run is one container's life. What was not measured is nil.
type Run struct {
	Start     float64  `json:"start"`               // from the request to create it until it was started
	Output    *float64 `json:"output,omitempty"`    // from the same until its first output
	HTTP      *float64 `json:"http,omitempty"`      // from the same until the first answered HTTP request
	Status    int      `json:"status,omitempty"`    // of that answer
	Run       *float64 `json:"run,omitempty"`       // from started to ended by itself
	ExitCode  *int64   `json:"exitCode,omitempty"`  // if it ended by itself
	Memory    *float64 `json:"memory,omitempty"`    // PSS of all its processes on the host
	CPU       *float64 `json:"cpu,omitempty"`       // that these used since the request
	Ahead     float64  `json:"ahead,omitempty"`     // CPU time that they had used before it
	Processes int      `json:"processes,omitempty"` // on the host
	Prepared  bool     `json:"prepared,omitempty"`  // its hypervisor ran before the request

	DiskWrite  *float64 `json:"diskWrite,omitempty"`  // bytes per second, synced
	DiskRead   *float64 `json:"diskRead,omitempty"`   // bytes per second
	DiskRandom *float64 `json:"diskRandom,omitempty"` // blocks of 4 KiB read per second
	DiskSync   *float64 `json:"diskSync,omitempty"`   // that a block of 4 KiB takes to be written and synced
	Warm       string   `json:"warm,omitempty"`       // why what was read may have come from the host's memory
	NetIn      *float64 `json:"netIn,omitempty"`      // bits per second from the host to the container
	NetOut     *float64 `json:"netOut,omitempty"`     // and the other way
	RoundTrip  *float64 `json:"roundTrip,omitempty"`  // of a byte, there and back

	why map[string]string // why a metric is nil
}

// finish computes what follows from the runs.
func (c *Contestant) finish() {
	c.Metrics, c.Prepared = map[string]Stat{}, 0
	if c.Missing == nil {
		c.Missing = []Missing{}
	}
	for i := range c.Runs {
		if c.Runs[i].Prepared {
			c.Prepared++
		}
	}
	for i := range c.Runs {
		if why := c.Runs[i].why["prepared"]; why != "" {
			c.Missing = append(c.Missing, Missing{"made ahead", why})
			break
		}
	}
	for _, m := range metrics {
		var values []float64
		reason := ""
		for i := range c.Runs {
			if v := m.get(&c.Runs[i]); v != nil {
				values = append(values, *v)
			} else if why := c.Runs[i].why[m.key]; why != "" {
				reason = why
			}
		}
		if len(values) > 0 {
			c.Metrics[m.key] = newStat(values)
		}
		if reason != "" && len(values) > 0 {
			reason = "in " + counted(len(c.Runs)-len(values), "run") + ": " + reason
		}
		if reason != "" {
			c.Missing = append(c.Missing, Missing{m.title, reason})
		}
	}
}

// measured are the metrics that any contestant has.
func (r *Report) measured() (list []metric) {
	for _, m := range metrics {
		for i := range r.Contestants {
			if _, ok := r.Contestants[i].Metrics[m.key]; ok {
				list = append(list, m)
				break
			}
		}
	}
	return list
}
