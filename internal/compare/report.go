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

	why map[string]string // why a metric is nil
}

// metric is a number that a run has.
type metric struct {
	key, title, about string
	size              bool // in bytes, else in seconds
	get               func(*Run) *float64
}

var metrics = []metric{
	{"start", "start", "from the request to create it until it is started", false, func(r *Run) *float64 { return &r.Start }},
	{"output", "first output", "from the request to create it until its first byte of output", false, func(r *Run) *float64 { return r.Output }},
	{"http", "first HTTP answer", "from the request to create it until an HTTP request is answered", false, func(r *Run) *float64 { return r.HTTP }},
	{"run", "start to exit", "from started until the command has ended by itself", false, func(r *Run) *float64 { return r.Run }},
	{"memory", "memory", "PSS of all host processes that are its alone, hypervisor and guest included", true, func(r *Run) *float64 { return r.Memory }},
	{"cpu", "CPU time", "that these processes used from the request until memory was measured", false, func(r *Run) *float64 { return r.CPU }},
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
