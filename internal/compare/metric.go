package compare

// metric is a number that a run has.
type metric struct {
	key, title, about string
	kind              kind
	get               func(*Run) *float64
}

// kind is what a metric's numbers are of.
type kind int

const (
	duration  kind = iota // seconds
	size                  // bytes
	speed                 // bytes per second
	bandwidth             // bits per second
	rate                  // per second
)

// more tells that a larger number is better.
func (k kind) more() bool { return k >= speed }

var metrics = []metric{
	{"start", "start", "from the request to create it until it is started", duration, func(r *Run) *float64 { return &r.Start }},
	{"output", "first output", "from the request to create it until its first byte of output", duration, func(r *Run) *float64 { return r.Output }},
	{"http", "first HTTP answer", "from the request to create it until an HTTP request is answered", duration, func(r *Run) *float64 { return r.HTTP }},
	{"run", "start to exit", "from started until the command has ended by itself", duration, func(r *Run) *float64 { return r.Run }},
	{"memory", "memory", "PSS of all host processes that are its alone, hypervisor and guest included", size, func(r *Run) *float64 { return r.Memory }},
	{"cpu", "CPU time", "that these processes used from the request until memory was measured", duration, func(r *Run) *float64 { return r.CPU }},
	{"diskWrite", "disk write", "in sequence, synced every 32 MiB", speed, func(r *Run) *float64 { return r.DiskWrite }},
	{"diskRead", "disk read", "in sequence, past the caches", speed, func(r *Run) *float64 { return r.DiskRead }},
	{"diskRandom", "random reads", "of 4 KiB, one after the other, past the caches", rate, func(r *Run) *float64 { return r.DiskRandom }},
	{"diskSync", "synced write", "how long 4 KiB take to be written and synced", duration, func(r *Run) *float64 { return r.DiskSync }},
	{"netIn", "network in", "one TCP connection from the host to the container's address", bandwidth, func(r *Run) *float64 { return r.NetIn }},
	{"netOut", "network out", "one TCP connection from the container's address to the host", bandwidth, func(r *Run) *float64 { return r.NetOut }},
	{"roundTrip", "round trip", "of a byte from the host to the container and back, by TCP", duration, func(r *Run) *float64 { return r.RoundTrip }},
}

// costs are the metrics of a run, throughputs those of the gauge.
var costs, throughputs = metrics[:6], metrics[6:]

// how tells how throughput is measured.
const how = "Disk and network are measured by a program that is copied into a container of its own for it. The disk: one file of up to " +
	"256 MiB in the writable layer, for 2 s at most, written 1 MiB at a time; then read past the page cache, of which a virtual machine's disk " +
	"is dropped on the host too; 4 KiB at random places, read and then written and synced one after the other for 1 s each. " +
	"The network: one TCP connection for 1 s each way between the host and the container's own address, and 1 byte back and forth for 0.5 s. " +
	"Of synced writes and round trips a run tells the median."
