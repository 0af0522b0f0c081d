package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/abode-run/abode/internal/agent"
)

// The formats of ps that have no list of fields.
const (
	psFull  = "user=UID,pid,ppid,c,stime,tname,time,cmd" // -f
	psPlain = "pid,tname,time,comm=CMD"                  // -e
	psBSD   = "pid,tname,stat,bsdtime,args"              // ax
	psUser  = "user,pid,%cpu,%mem,vsz,rss,tname,stat,bsdstart,bsdtime,args"
)

// psColumn is a column of ps.
type psColumn struct {
	names string // by which -o asks for it
	title string
	text  func(psLine) string
}

// psLine is what a line of ps is made of.
type psLine struct {
	agent.TopProcess
	memTotal uint64
	now      time.Time
}

var psFields = []psColumn{
	{"pid", "PID", func(l psLine) string { return strconv.Itoa(l.PID) }},
	{"ppid", "PPID", func(l psLine) string { return strconv.Itoa(l.PPID) }},
	{"pgid", "PGID", func(l psLine) string { return strconv.Itoa(l.PGID) }},
	{"sid", "SID", func(l psLine) string { return strconv.Itoa(l.SID) }},
	{"nlwp", "NLWP", func(l psLine) string { return strconv.Itoa(l.Threads) }},
	{"user", "USER", psLine.user},
	{"uid", "UID", func(l psLine) string { return strconv.Itoa(l.UID) }},
	{"%cpu pcpu", "%CPU", func(l psLine) string { return tenths(l.perMilleCPU()) }},
	{"c", "C", func(l psLine) string { return strconv.FormatInt(min(l.perMilleCPU()/10, 99), 10) }},
	{"%mem pmem", "%MEM", func(l psLine) string { return tenths(min(int64(l.RSS/max(l.memTotal/1000, 1)), 999)) }},
	{"rss", "RSS", func(l psLine) string { return strconv.FormatUint(l.RSS>>10, 10) }},
	{"vsz", "VSZ", func(l psLine) string { return strconv.FormatUint(l.VSize>>10, 10) }},
	{"stat", "STAT", func(l psLine) string { return l.Stat }},
	{"tty tt", "TT", func(l psLine) string { return cmp.Or(l.TTY, "?") }},
	{"tname", "TTY", func(l psLine) string { return cmp.Or(l.TTY, "?") }},
	{"time", "TIME", func(l psLine) string { return clock(l.CPU, true) }},
	{"bsdtime", "TIME", func(l psLine) string { return fmt.Sprintf("%d:%02d", l.CPU/time.Minute, l.CPU/time.Second%60) }},
	{"etime", "ELAPSED", func(l psLine) string { return clock(l.Age, false) }},
	{"start", "STARTED", func(l psLine) string { return l.began("15:04:05", "Jan _2") }},
	{"stime", "STIME", func(l psLine) string { return l.began("15:04", "Jan02") }},
	{"bsdstart", "START", func(l psLine) string { return l.began("15:04", "Jan02") }},
	{"comm", "COMMAND", func(l psLine) string { return l.Comm }},
	{"args command", "COMMAND", psLine.command},
	{"cmd", "CMD", psLine.command},
	{"nice ni", "NI", func(l psLine) string { return strconv.Itoa(l.Nice) }},
	{"pri", "PRI", func(l psLine) string { return strconv.Itoa(39 - l.Priority) }},
	{"psr", "PSR", func(l psLine) string { return strconv.Itoa(l.Processor) }},
}

// psColumns reads options of ps. Those that select processes change only the
// format, as they do in ps: all of the container's are meant.
func psColumns(args string) ([]psColumn, error) {
	words := strings.Fields(args)
	if len(words) == 0 {
		words = []string{"-ef"}
	}
	format, list := "", ""
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		letters, fields, asks := strings.Cut(word, "o")
		letters, dash := strings.CutPrefix(letters, "-")
		known := "axuw"
		if dash && !strings.HasPrefix(letters, "au") { // -aux is written for aux
			known = "eAfw"
		}
		switch {
		case strings.Trim(letters, known) != "", !asks && letters == "":
			return nil, invalid("ps option %q is not supported: use -ef, aux, -e, -A, ax, or -o with a list of %s", word, psNames())
		case strings.Contains(letters, "f"):
			format = psFull
		case strings.Contains(letters, "u"):
			format = psUser
		case format == "" && dash:
			format = psPlain
		case format == "":
			format = psBSD
		}
		if asks && fields == "" && len(words) > 0 {
			fields, words = words[0], words[1:]
		}
		if asks {
			list += "," + fields
		}
	}
	if list != "" && (format == psFull || format == psUser) {
		return nil, invalid("ps options %q name two formats: leave out -o, or f and u", args)
	}
	var columns []psColumn
	for field := range strings.SplitSeq(strings.TrimPrefix(cmp.Or(list, format), ","), ",") {
		name, title, renamed := strings.Cut(field, "=")
		i := slices.IndexFunc(psFields, func(c psColumn) bool { return slices.Contains(strings.Fields(c.names), name) })
		if i < 0 {
			return nil, invalid("ps field %q is not supported: there are %s", name, psNames())
		}
		c := psFields[i]
		if renamed {
			c.title = title
		}
		columns = append(columns, c)
	}
	// Clients look for it.
	if !slices.ContainsFunc(columns, func(c psColumn) bool { return c.title == "PID" }) {
		return nil, invalid("Couldn't find PID field in ps output: add pid to the fields of %q", args)
	}
	return columns, nil
}

func psNames() string {
	var names []string
	for _, c := range psFields {
		names = append(names, strings.Fields(c.names)...)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// psRow is a line of ps. Texts are a workload's, so that no control character
// reaches a terminal.
func psRow(columns []psColumn, l psLine) []string {
	var row []string
	for _, c := range columns {
		row = append(row, strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, c.text(l)))
	}
	return row
}

// user shows root by name, as ps would, and others by the number that they
// have in the container.
func (l psLine) user() string {
	switch l.UID {
	case 0:
		return "root"
	case -1:
		return "?"
	}
	return strconv.Itoa(l.UID)
}

func (l psLine) command() string {
	if l.Args != "" {
		return l.Args
	}
	if strings.HasPrefix(l.Stat, "Z") {
		return "[" + l.Comm + "] <defunct>"
	}
	return "[" + l.Comm + "]"
}

// perMilleCPU is the share of one CPU since the process's start.
func (l psLine) perMilleCPU() int64 {
	if l.Age < time.Second {
		return 0
	}
	return int64(l.CPU / (l.Age / 1000))
}

func tenths(n int64) string { return fmt.Sprintf("%d.%d", n/10, n%10) }

// began is the time of the start, or of one that is a day ago the date.
func (l psLine) began(time24, date string) string {
	start := l.now.Add(-l.Age)
	if l.Age > 24*time.Hour {
		return start.Format(date)
	}
	return start.Format(time24)
}

// clock is a time as [DD-]hh:mm:ss, in short without hours that are none.
func clock(d time.Duration, long bool) string {
	s := int64(d / time.Second)
	text := fmt.Sprintf("%02d:%02d", s/60%60, s%60)
	if long || s >= 3600 {
		text = fmt.Sprintf("%02d:%s", s/3600%24, text)
	}
	if s >= 24*3600 {
		text = fmt.Sprintf("%d-%s", s/24/3600, text)
	}
	return text
}
