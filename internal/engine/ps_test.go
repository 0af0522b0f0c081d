package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/agent"
)

// The options of ps that there are, and the columns that they make.
func TestPS(t *testing.T) {
	l := psLine{agent.TopProcess{
		PID: 7, PPID: 1, PGID: 7, SID: 6, UID: 1000, Comm: "sleep", Args: "sleep \x1b[31m10", Stat: "S+", TTY: "pts/0", Nice: 5, Priority: 25, Processor: 3, Threads: 2,
		CPU: 90 * time.Minute, Age: 2 * time.Hour, VSize: 4 << 20, RSS: 1 << 20,
	}, 16 << 20, time.Date(2026, 5, 4, 12, 30, 15, 0, time.UTC)}
	const (
		full = "UID PID PPID C STIME TTY TIME CMD|1000 7 1 75 10:30 pts/0 01:30:00 sleep ?[31m10"
		user = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND|1000 7 75.0 6.2 4096 1024 pts/0 S+ 10:30 90:00 sleep ?[31m10"
	)
	for args, want := range map[string]string{
		"": full, "-ef": full, "-f": full, "-Af": full, "-e -f": full, "-efww": full,
		"aux": user, "u": user, "-aux": user, "auxww": user,
		"-e": "PID TTY TIME CMD|7 pts/0 01:30:00 sleep", "-A": "PID TTY TIME CMD|7 pts/0 01:30:00 sleep",
		"ax":                              "PID TTY STAT TIME COMMAND|7 pts/0 S+ 90:00 sleep ?[31m10",
		"-o pid,args":                     "PID COMMAND|7 sleep ?[31m10",
		"-opid,comm":                      "PID COMMAND|7 sleep",
		"-eo pid,user=WHO":                "PID WHO|7 1000",
		"axo pid -o pgid,sid":             "PID PGID SID|7 7 6",
		"o uid,pid,nice,pri,psr,nlwp,tty": "UID PID NI PRI PSR NLWP TT|1000 7 5 14 3 2 pts/0",
		"-o pid,etime,start,command,cmd":  "PID ELAPSED STARTED COMMAND CMD|7 02:00:00 10:30:15 sleep ?[31m10 sleep ?[31m10",
	} {
		columns, err := psColumns(args)
		if err != nil {
			t.Errorf("%q: %v", args, err)
			continue
		}
		var titles []string
		for _, c := range columns {
			titles = append(titles, c.title)
		}
		if got := strings.Join(titles, " ") + "|" + strings.Join(psRow(columns, l), " "); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", args, got, want)
		}
	}
	for args, has := range map[string]string{
		"-o comm": "Couldn't find PID field", "-o pid=NO": "Couldn't find PID field", "-o pid,luck": `"luck" is not supported: there are %cpu, `, "-o": `"" is not supported`,
		"--forest": "-ef, aux", "-l": `"-l"`, "-": `"-"`, "-ef -o pid": "two formats", "pid": `"pid"`, "-u root": `"-u"`,
	} {
		if _, err := psColumns(args); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), has) {
			t.Errorf("%q: %v, want %q", args, err, has)
		}
	}
}

// Old and odd processes, and figures that a hostile guest may send.
func TestPSOdd(t *testing.T) {
	columns, err := psColumns("-o pid,etime,stime,start,time,pcpu,c,pmem,user,cmd,tty")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 5, 4, 12, 30, 15, 0, time.UTC)
	for want, p := range map[string]agent.TopProcess{
		"2 3-01:00:00 May01 May  1 1-02:00:00 35.6 35 0.0 root [kthread] ?": {PID: 2, Comm: "kthread", Age: 73 * time.Hour, CPU: 26 * time.Hour},
		"3 00:05 12:30 12:30:10 00:00:20 400.0 99 99.9 ? [z] <defunct> ?":   {PID: 3, UID: -1, Comm: "z", Stat: "Z", Age: 5 * time.Second, CPU: 20 * time.Second, RSS: 1 << 60},
	} {
		if got := strings.Join(psRow(columns, psLine{p, 1 << 30, now}), " "); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	psRow(columns, psLine{agent.TopProcess{Age: -1 << 63, CPU: 1<<63 - 1, RSS: 1<<64 - 1}, 0, now})
}
