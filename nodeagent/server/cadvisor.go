package server

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// metricsCadvisor serves the part of cAdvisor's metrics that the runtime can
// tell, under cAdvisor's names, as dashboards expect them: GET
// /metrics/cadvisor. A pod's own cgroup has an empty container label.
func (s *Server) metricsCadvisor(w http.ResponseWriter, r *http.Request) {
	s.serveSummary(w, r, collectCadvisor)
}

func collectCadvisor(s *stats.Summary, ch chan<- prometheus.Metric) {
	labels := []string{"container", "namespace", "pod"}
	network := []string{"interface", "namespace", "pod"}
	cpu := newMetric("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", prometheus.CounterValue, labels...)
	working := newMetric("container_memory_working_set_bytes", "Current working set in bytes.", prometheus.GaugeValue, labels...)
	usage := newMetric("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", prometheus.GaugeValue, labels...)
	rss := newMetric("container_memory_rss", "Size of RSS in bytes.", prometheus.GaugeValue, labels...)
	fs := newMetric("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", prometheus.GaugeValue, labels...)
	processes := newMetric("container_processes", "Number of processes running inside the container.", prometheus.GaugeValue, labels...)
	start := newMetric("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", prometheus.GaugeValue, labels...)
	received := newMetric("container_network_receive_bytes_total", "Cumulative count of bytes received", prometheus.CounterValue, network...)
	receiveErrors := newMetric("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", prometheus.CounterValue, network...)
	sent := newMetric("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", prometheus.CounterValue, network...)
	sendErrors := newMetric("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", prometheus.CounterValue, network...)
	memory := func(m *stats.MemoryStats, values ...string) {
		if m != nil {
			working.sendBytes(ch, m.Time.Time, m.WorkingSetBytes, values...)
			usage.sendBytes(ch, m.Time.Time, m.UsageBytes, values...)
			rss.sendBytes(ch, m.Time.Time, m.RSSBytes, values...)
		}
	}

	newMetric("machine_cpu_cores", "Number of logical CPU cores.", prometheus.GaugeValue).send(ch, time.Time{}, float64(runtime.NumCPU()))
	if m := s.Node.Memory; m != nil && m.AvailableBytes != nil && m.WorkingSetBytes != nil {
		total := *m.AvailableBytes + *m.WorkingSetBytes
		newMetric("machine_memory_bytes", "Amount of memory installed on the machine.", prometheus.GaugeValue).sendBytes(ch, m.Time.Time, &total)
	}
	for _, p := range s.Pods {
		ns, name := p.PodRef.Namespace, p.PodRef.Name
		cpu.sendCPU(ch, p.CPU, "", ns, name)
		memory(p.Memory, "", ns, name)
		if p.ProcessStats != nil && p.CPU != nil {
			processes.sendBytes(ch, p.CPU.Time.Time, p.ProcessStats.ProcessCount, "", ns, name)
		}
		if n := p.Network; n != nil {
			for _, i := range n.Interfaces {
				at := n.Time.Time
				received.sendBytes(ch, at, i.RxBytes, i.Name, ns, name)
				receiveErrors.sendBytes(ch, at, i.RxErrors, i.Name, ns, name)
				sent.sendBytes(ch, at, i.TxBytes, i.Name, ns, name)
				sendErrors.sendBytes(ch, at, i.TxErrors, i.Name, ns, name)
			}
		}
		for _, c := range p.Containers {
			cpu.sendCPU(ch, c.CPU, c.Name, ns, name)
			memory(c.Memory, c.Name, ns, name)
			if c.Rootfs != nil {
				fs.sendBytes(ch, c.Rootfs.Time.Time, c.Rootfs.UsedBytes, c.Name, ns, name)
			}
			if !c.StartTime.IsZero() {
				start.send(ch, time.Time{}, float64(c.StartTime.Unix()), c.Name, ns, name)
			}
		}
	}
}
