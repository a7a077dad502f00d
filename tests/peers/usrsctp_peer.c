/* An SCTP peer over plain UDP that shares no code with the worker: usrsctp.
 *
 * It echoes every message on the stream it came on, with its PPID and order. On standard output, a line each:
 *   port N                               its UDP port
 *   up OUT IN                            the association is up, with so many streams
 *   message STREAM PPID LENGTH SUM UNORDERED
 *   reset STREAM                         the other side reset this stream
 *   down                                 the association is over
 * On standard input, a line each:
 *   connect PORT                         of the other side, on 127.0.0.1; both sides may do so at once
 *   send STREAM PPID UNORDERED LENGTH    bytes count up from 0
 *   reset STREAM                         resets its outgoing stream
 *   abort
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usrsctp.h>

enum { PORT = 5000, LARGEST = 262144, STREAMS = 1024 };

static int udp;
static struct sockaddr_in other;
static struct socket *sctp;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	pthread_mutex_lock(&output);
	vprintf(format, arguments);
	putchar('\n');
	fflush(stdout);
	pthread_mutex_unlock(&output);
	va_end(arguments);
}

static void require(bool holds, const char *what) {
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static int transmit(void *address, void *packet, size_t length, uint8_t tos, uint8_t set_df) {
	(void)address, (void)tos, (void)set_df;
	sendto(udp, packet, length, 0, (struct sockaddr *)&other, sizeof other);
	return 0;
}

static void *receive_packets(void *unused) {
	static char packet[65536];
	(void)unused;
	for (;;) {
		ssize_t length = recv(udp, packet, sizeof packet, 0);
		if (length > 0)
			usrsctp_conninput(&udp, packet, (size_t)length, 0);
	}
	return NULL;
}

static void send_message(uint16_t stream, uint32_t ppid, bool unordered, const void *message, size_t length) {
	struct sctp_sndinfo info = {0};
	info.snd_sid = stream;
	info.snd_ppid = htonl(ppid);
	info.snd_flags = unordered ? SCTP_UNORDERED : 0;
	ssize_t sent = usrsctp_sendv(sctp, message, length, NULL, 0, &info, sizeof info, SCTP_SENDV_SNDINFO, 0);
	require(sent == (ssize_t)length, "usrsctp_sendv");
}

static void handle_notification(const union sctp_notification *event) {
	switch (event->sn_header.sn_type) {
	case SCTP_ASSOC_CHANGE:
		if (event->sn_assoc_change.sac_state == SCTP_COMM_UP)
			say("up %u %u", event->sn_assoc_change.sac_outbound_streams, event->sn_assoc_change.sac_inbound_streams);
		else
			say("down");
		break;
	case SCTP_STREAM_RESET_EVENT:
		if (event->sn_strreset_event.strreset_flags & SCTP_STREAM_RESET_INCOMING_SSN) {
			size_t bytes = event->sn_strreset_event.strreset_length - sizeof event->sn_strreset_event;
			for (size_t i = 0; i < bytes / sizeof(uint16_t); i++)
				say("reset %u", event->sn_strreset_event.strreset_stream_list[i]);
		}
		break;
	}
}

static int handle_data(struct socket *socket, union sctp_sockstore address, void *data, size_t length,
                       struct sctp_rcvinfo info, int flags, void *unused) {
	/* A long message may come in pieces. */
	static char message[LARGEST];
	static size_t have;
	(void)socket, (void)address, (void)unused;
	if (!data)
		return 1;
	if (flags & MSG_NOTIFICATION) {
		handle_notification(data);
	} else {
		require(have + length <= sizeof message, "message too long");
		memcpy(message + have, data, length);
		have += length;
		if (flags & MSG_EOR) {
			unsigned sum = 0;
			for (size_t i = 0; i < have; i++)
				sum += (unsigned char)message[i];
			bool unordered = info.rcv_flags & SCTP_UNORDERED;
			say("message %u %u %zu %u %d", info.rcv_sid, ntohl(info.rcv_ppid), have, sum, unordered);
			send_message(info.rcv_sid, ntohl(info.rcv_ppid), unordered, message, have);
			have = 0;
		}
	}
	free(data);
	return 1;
}

static void set(int level, int name, const void *value, socklen_t size) {
	require(usrsctp_setsockopt(sctp, level, name, value, size) == 0, "usrsctp_setsockopt");
}

static void open_socket(void) {
	usrsctp_init(0, transmit, NULL);
	usrsctp_sysctl_set_sctp_ecn_enable(0);
	usrsctp_register_address(&udp);
	sctp = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, handle_data, NULL, 0, NULL);
	require(sctp, "usrsctp_socket");
	int size = 4 * 1024 * 1024;
	set(SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	set(SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	usrsctp_set_non_blocking(sctp, 1);
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	set(SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	int on = 1;
	set(IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof on);
	struct sctp_assoc_value resets = {.assoc_id = SCTP_ALL_ASSOC, .assoc_value = SCTP_ENABLE_RESET_STREAM_REQ};
	set(IPPROTO_SCTP, SCTP_ENABLE_STREAM_RESET, &resets, sizeof resets);
	struct sctp_initmsg init = {.sinit_num_ostreams = STREAMS, .sinit_max_instreams = STREAMS};
	set(IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof init);
	const uint16_t events[] = {SCTP_ASSOC_CHANGE, SCTP_STREAM_RESET_EVENT};
	for (size_t i = 0; i < 2; i++) {
		struct sctp_event event = {.se_assoc_id = SCTP_ALL_ASSOC, .se_type = events[i], .se_on = 1};
		set(IPPROTO_SCTP, SCTP_EVENT, &event, sizeof event);
	}
	struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(PORT), .sconn_addr = &udp};
	require(usrsctp_bind(sctp, (struct sockaddr *)&address, sizeof address) == 0, "usrsctp_bind");
}

static void obey(const char *line) {
	static char message[LARGEST];
	unsigned a, b, c, d;
	if (sscanf(line, "connect %u", &a) == 1) {
		other = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)a)};
		other.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(PORT), .sconn_addr = &udp};
		usrsctp_connect(sctp, (struct sockaddr *)&address, sizeof address);
		struct sctp_paddrparams path = {.spp_flags = SPP_PMTUD_DISABLE, .spp_pathmtu = 1188};
		memcpy(&path.spp_address, &address, sizeof address);
		set(IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof path);
	} else if (sscanf(line, "send %u %u %u %u", &a, &b, &c, &d) == 4 && d <= LARGEST) {
		for (unsigned i = 0; i < d; i++)
			message[i] = (char)i;
		send_message((uint16_t)a, b, c, message, d);
	} else if (sscanf(line, "reset %u", &a) == 1) {
		char buffer[sizeof(struct sctp_reset_streams) + sizeof(uint16_t)] = {0};
		struct sctp_reset_streams *reset = (struct sctp_reset_streams *)buffer;
		reset->srs_flags = SCTP_STREAM_RESET_OUTGOING;
		reset->srs_number_streams = 1;
		reset->srs_stream_list[0] = (uint16_t)a;
		set(IPPROTO_SCTP, SCTP_RESET_STREAMS, reset, sizeof buffer);
	} else if (strncmp(line, "abort", 5) == 0) {
		usrsctp_close(sctp);
	} else {
		require(false, "unknown command");
	}
}

int main(void) {
	struct sockaddr_in ours = {.sin_family = AF_INET};
	ours.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t length = sizeof ours;
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	require(udp >= 0 && bind(udp, (struct sockaddr *)&ours, sizeof ours) == 0, "bind");
	getsockname(udp, (struct sockaddr *)&ours, &length);
	open_socket();
	pthread_t thread;
	require(pthread_create(&thread, NULL, receive_packets, NULL) == 0, "pthread_create");
	say("port %u", ntohs(ours.sin_port));
	char line[100];
	while (fgets(line, sizeof line, stdin))
		obey(line);
	_exit(0);
}
