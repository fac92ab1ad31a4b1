// pause is the first process of every pod sandbox. It holds the pod's
// namespaces open and, where the pod shares one process namespace, reaps the
// orphans that end up under process 1.
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	// Blocked signals wait for sigwait, so none is lost between two rounds,
	// and process 1, which ignores signals without a handler, still gets them.
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		int sig = 0;
		if (sigwait(&set, &sig) != 0)
			continue;
		if (sig == SIGINT || sig == SIGTERM)
			return 0;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
