package docker

import "os"

// shared is a directory of the host with a file in it.
var shared = func() string {
	const dir = "testdata/shared"
	wd, _ := os.Getwd()
	return wd + "/" + dir
}()

// groups are the flags whose effect shows. Those of one group go together.
var groups = []*group{
	newGroup(
		shown{name: "--memory", args: []string{"--memory", "64m"}, script: "cg memory/memory.limit_in_bytes memory.max", want: "67108864"},
		shown{name: "--memory-reservation", args: []string{"--memory-reservation", "32m"}, script: "cg memory/memory.soft_limit_in_bytes memory.low", want: "33554432"},
		shown{name: "--memory-swap", args: []string{"--memory-swap", "96m"}, script: "v=$(cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes 2>/dev/null) && echo $((v - (64 << 20))) || cat /sys/fs/cgroup/memory.swap.max", want: "33554432"},
		shown{name: "--cpu-period", args: []string{"--cpu-period", "50000"}, script: "cg cpu/cpu.cfs_period_us cpu.max | sed 's/.* //'", want: "50000"},
		shown{name: "--cpu-quota", args: []string{"--cpu-quota", "25000"}, script: "cg cpu/cpu.cfs_quota_us cpu.max | sed 's/ .*//'", want: "25000"},
		shown{name: "--cpu-shares", args: []string{"--cpu-shares", "512"}, script: "v=$(cg cpu/cpu.shares cpu.weight); [ $v = 512 -o $v = 20 -o $v = 59 ] && echo half || echo $v", want: "half"},
		shown{name: "--pids-limit", args: []string{"--pids-limit", "77"}, script: "cg pids/pids.max pids.max", want: "77"},
		shown{name: "--oom-score-adj", args: []string{"--oom-score-adj", "300"}, script: "cat /proc/self/oom_score_adj", want: "300"},
		shown{name: "--ulimit", args: []string{"--ulimit", "nofile=123:456"}, script: "ulimit -n; ulimit -Hn", want: "123\n456"},
		shown{name: "--shm-size", args: []string{"--shm-size", "32m"}, script: "df -k /dev/shm | awk 'END { print $2 }'", want: "32768"},
		shown{name: "--sysctl", args: []string{"--sysctl", "net.ipv4.tcp_keepalive_time=4321"}, script: "cat /proc/sys/net/ipv4/tcp_keepalive_time", want: "4321"},
		shown{name: "--init", args: []string{"--init"}, script: "[ $$ = 1 ] && echo first || echo child", want: "child"},
		shown{name: "--cap-add", args: []string{"--cap-add", "NET_ADMIN"}, script: "cap 12", want: "1"},
		shown{name: "--cap-drop", args: []string{"--cap-drop", "CHOWN"}, script: "cap 0; chown 5:5 /tmp && echo done", want: "0\nchown: /tmp: Operation not permitted"},
		shown{name: "--mac-address", args: []string{"--mac-address", "02:11:22:33:44:55"}, script: "cat /sys/class/net/eth0/address", want: "02:11:22:33:44:55"},
		shown{name: "--restart no", args: []string{"--restart", "no"}, inspect: "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.PidsLimit}}", is: "no 77"},
	),
	newGroup(
		shown{name: "--add-host", args: []string{"--add-host", "peer:192.0.2.7"}, script: "awk '/peer/ { print $1, $2 }' /etc/hosts", want: "192.0.2.7 peer"},
		shown{name: "--annotation", args: []string{"--annotation", "a=b"}, inspect: `{{index .HostConfig.Annotations "a"}}`, is: "b"},
		shown{name: "--dns", args: []string{"--dns", "192.0.2.53"}, script: "grep nameserver /etc/resolv.conf", want: "nameserver 192.0.2.53"},
		shown{name: "--dns-option", args: []string{"--dns-option", "ndots:3"}, script: "grep -o ndots:3 /etc/resolv.conf", want: "ndots:3"},
		shown{name: "--dns-search", args: []string{"--dns-search", "search.example"}, script: "grep search /etc/resolv.conf", want: "search search.example"},
		shown{name: "--domainname", args: []string{"--domainname", "domain.example"}, script: "cat /proc/sys/kernel/domainname", want: "domain.example"},
		shown{name: "--hostname", args: []string{"--hostname", "box"}, script: "hostname", want: "box"},
		shown{name: "--env", args: []string{"--env", "GIVEN=here"}, script: "echo $GIVEN", want: "here"},
		shown{name: "--env-file", args: []string{"--env-file", "testdata/envs"}, script: "echo $FROMFILE", want: "two words"},
		shown{name: "--label", args: []string{"--label", "l=m"}, inspect: `{{index .Config.Labels "l"}}`, is: "m"},
		shown{name: "--label-file", args: []string{"--label-file", "testdata/labels"}, inspect: `{{index .Config.Labels "of"}}`, is: "file"},
		shown{name: "--expose", args: []string{"--expose", "8080"}, inspect: "{{range $p, $_ := .Config.ExposedPorts}}{{$p}}{{end}}", is: "8080/tcp"},
		shown{name: "--group-add", args: []string{"--group-add", "4321"}, script: "id -G | grep -o 4321", want: "4321"},
		shown{name: "--user", args: []string{"--user", "1234:1235"}, script: "echo $(id -u) $(id -g)", want: "1234 1235"},
		shown{name: "--workdir", args: []string{"--workdir", "/tmp"}, script: "pwd", want: "/tmp"},
		shown{name: "--read-only", args: []string{"--read-only"}, script: "mount | awk '$3 == \"/\" { print substr($6, 2, 2) }'; touch /var/f 2>&1 | sed 's/.*: //'", want: "ro\nRead-only file system"},
		shown{name: "--tmpfs", args: []string{"--tmpfs", "/scratch:size=1m"}, script: "touch /scratch/f && df -k /scratch | awk 'END { print $2 }'", want: "1024"},
		shown{name: "--volume", args: []string{"--volume", shared + ":/bound:ro", "--volume", "/anonymous"}, script: "cat /bound/file; touch /bound/f 2>&1 | sed 's/.*: //'; mount | grep -c ' /anonymous '", want: "from the host\nRead-only file system\n1"},
		shown{name: "--mount type=bind", args: []string{"--mount", "type=bind,src=" + shared + ",dst=/mounted"}, script: "cat /mounted/file", want: "from the host"},
		shown{name: "--mount type=volume", args: []string{"--mount", "type=volume,dst=/vol"}, script: "mount | grep -c ' /vol '", want: "1"},
		shown{name: "--mount type=tmpfs", args: []string{"--mount", "type=tmpfs,dst=/quick,tmpfs-size=2m"}, script: "df -k /quick 2>&1 | awk 'END { print $2 }'", want: "2048"},
		shown{name: "--stop-timeout", args: []string{"--stop-timeout", "33"}, inspect: "{{.Config.StopTimeout}}", is: "33"},
		shown{name: "--cpus", args: []string{"--cpus", "0.5"}, script: "v=$(cg cpu/cpu.cfs_quota_us cpu.max); p=$(cg cpu/cpu.cfs_period_us cpu.max); echo $((${v%% *} * 10 / ${p##* }))", want: "5"},
		shown{name: "--log-driver local", args: []string{"--log-driver", "local"}, inspect: "{{.HostConfig.LogConfig.Type}}", is: "local"},
	),
	newGroup(
		shown{name: "--network none", args: []string{"--network", "none"}, script: "ls /sys/class/net", want: "lo"},
		shown{name: "--ipc none", args: []string{"--ipc", "none"}, script: "mount | grep -c ' /dev/shm '", want: "0"},
		shown{name: "--security-opt no-new-privileges", args: []string{"--security-opt", "no-new-privileges"}, script: "awk '/NoNewPrivs/ { print $2 }' /proc/self/status", want: "1"},
		shown{name: "--security-opt seccomp=unconfined", args: []string{"--security-opt", "seccomp=unconfined"}, script: "awk '/Seccomp:/ { print $2 }' /proc/self/status", want: "0"},
		shown{name: "--userns host", args: []string{"--userns", "host"}, script: "echo $(cat /proc/self/uid_map)", want: "0 0 4294967295"},
	),
	newGroup(
		shown{name: "--privileged", args: []string{"--privileged"}, script: "cap 21; touch /proc/sys/kernel/panic && echo writable", want: "1\nwritable"},
	),
}
