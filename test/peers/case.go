package main

// A testCase is one thing that is measured for several contestants.
type testCase struct {
	name, about string
	who         []string
	metrics     []metric
	// levels are sizes at which it is measured, each of them in turn; nil: at
	// the one size that scale has for it.
	levels func(scale) []int
	runs   func(scale) int
	// keep: it goes on with the containers that the case before has left
	// running. Before others, all are removed.
	keep bool
	// prepare comes once per contestant and level, before the first round.
	prepare func(b *bench, c contestant, level int) error
	// sample measures once: a figure per metric.
	sample func(b *bench, c contestant, level int) ([]float64, error)
	finish func(b *bench, c contestant)
	// note says what the figures are of, when they are not of this machine.
	note func(b *bench) string
}

// A metric is a figure of a case.
type metric struct {
	name, title, unit string
	more              bool   // is better
	peer              string // whom the others are compared with
	targets           []target
	linear            bool // the targets: no level's cost may grow faster than its size
}

// A target is what a contestant is to reach: at most factor times the peer's
// figure in the same run, or at least, where more is better; or at most limit.
type target struct {
	who, peer   string
	factor      float64
	limit       float64
	accelerator string // "": with any
}

// scale is how much is run.
type scale struct {
	runs       int // of what takes a moment
	batches    int // of what takes a while
	nested     int // of starts in an emulated machine
	insides    int // of what runs long inside, on a disk that is seldom steady
	together   int // containers started at once
	inFlight   int
	machines   int // VMs started at once
	idle       int // containers at rest, for memory
	idleVMs    int
	many       int // containers at rest, for ps
	growth     []int
	growthVMs  []int
	smallFiles int
	ioSeconds  int
	ioSize     string // as fio writes it
}

var (
	quick = scale{runs: 5, batches: 1, nested: 3, insides: 1, together: 16, inFlight: 16, machines: 4, idle: 10, idleVMs: 2, many: 16,
		growth: []int{1, 4, 16}, growthVMs: []int{1, 3}, smallFiles: 6_000, ioSeconds: 1, ioSize: "64m"}
	full = scale{runs: 20, batches: 3, nested: 10, insides: 5, together: 100, inFlight: 16, machines: 30, idle: 100, idleVMs: 20, many: 1_000,
		growth: []int{1, 10, 100, 1_000}, growthVMs: []int{1, 10, 30, 60}, smallFiles: 60_000, ioSeconds: 5, ioSize: "256m"}
)

func manyRuns(s scale) int { return s.runs }
func batches(s scale) int  { return s.batches }
func once(scale) int       { return 1 }

// cases are all of them, in the order in which they run: what is measured with
// an otherwise quiet machine comes first. The thousand containers of the last
// end with the sandbox, sooner than engines remove them.
var cases = []testCase{
	atRest, startNetwork, startNone, startVM, startPlain, startKVM, execCase, parallel, pullDebian, pullSmall, memory, diskInside, netInside, memoryVM, growthVM, growth, ps,
}
