"""SFVoPI row by row, sections 1 to 7 of its contract and what 8 says of sound: which test keeps which row.

A row whose test is only a file is a parameter there and has its name; others are functions, maybe of many parameters.
`./dev test -k section_7_9` runs what keeps a section. Whoever renames a test finds it named here.
"""

import re
from collections.abc import Mapping

REST, WEBHOOKS = "conformance/test_rest.py", "conformance/test_webhooks.py"
END, SOUND, PEER = "conformance/test_end.py", "conformance/test_sound.py", "conformance/test_socket.py"
WORDS, REPLY, SOCKET = "test_sfvopi.py", "test_sfvopi_answer.py", "test_sfvopi_stream.py"
STREAM, STREAM_END, QUEUE = "test_stream.py", "test_stream_ends.py", "test_stream_queue.py"
WIRE, WIRE_FAULTS = "test_wire.py", "test_wire_faults.py"
NUMBERS, BOX = "test_numbers.py", "test_conductor.py"
CALLS, CUSTOMER, HTTP = "test_service_calls.py", "test_service_customer.py", "test_service_http.py"

_SOUND_AND_ALL = f"{CALLS}::test_a_caller_and_a_voice_server_hear_each_other_and_all_is_told"
_KEY = f"{REST}::test_1_each_endpoint_asks_for_a_key_before_path_and_body"
_IN_ORDER = f"{CALLS}::test_an_outbound_call_rings_is_answered_and_ends_in_this_order"
_UNANSWERED = f"{CALLS}::test_an_outbound_call_that_is_not_answered_has_no_answer_webhook_and_no_socket"
_NOT_TAKEN = f"{CALLS}::test_a_call_from_a_busy_line_or_one_that_is_down_is_accepted_and_fails_by_webhook"
_BAD_ANSWER = f"{CUSTOMER}::test_an_answer_webhook_that_gives_no_stream_fails_the_call_and_the_log_says_why"
_BAD_FIELD = f"{WORDS}::test_4_1_each_bad_field_of_a_call_is_400"
_BAD_REPLY = f"{REPLY}::test_6_5_what_is_no_stream_json_says_which_field"
_TEN_SECONDS = f"{CUSTOMER}::test_a_silent_answer_webhook_has_ten_seconds_and_then_its_fallback_is_asked"
_ANY_CASE = f"{REPLY}::test_6_3_names_and_words_are_read_in_any_case_and_unknown_fields_ignored"
_FAULTS = f"{STREAM}::test_what_breaks_a_rule_is_dropped_counted_and_logged_once_a_kind"
_DIRECTION = f"{STREAM}::test_6_4_direction_decides_what_flows"
_GAP = f"{STREAM_END}::test_7_10_in_the_gap_audio_plays_on_and_facts_are_told_after_the_new_start"
_LOSS = f"{STREAM_END}::test_7_9_any_other_end_is_a_loss_and_the_stream_goes_on"
_CHECKPOINTS = f"{STREAM}::test_7_8_checkpoints_are_answered_in_order_each_when_its_audio_was_played"
_CLEAR = f"{STREAM}::test_7_7_clear_silences_the_line_and_is_answered_once"
_NORMALISED = f"{NUMBERS}::test_a_number_as_people_write_it_becomes_e164"

CONTRACT: Mapping[str, str] = {
    # Common REST conventions.
    "1: no key is 401": _KEY,
    "1: an unknown key is 401, and so is a revoked one": _KEY,
    "1: the key is asked for before path and body": _KEY,
    "1: the header's name is written in any case": _KEY,
    "1: an unknown path is 404": REST,
    "1: a path with another method is refused in the same shape": REST,
    "1: a slash at the end is no other path": REST,
    "1: fields that nobody knows are ignored": REST,
    "1: text of any language is taken and told as it is": REST,
    "1: what is no JSON object is 400": f"{WORDS}::test_1_what_is_no_json_object_is_400",
    "1: a number that can't be normalised is 400": f"{WORDS}::test_1_a_number_that_can_t_be_normalised_is_said_so",
    "1: spaces, hyphens, brackets, 00 and national numbers are normalised": _NORMALISED,
    "1: E.164 is a plus and eight to fifteen digits": f"{NUMBERS}::test_e164_has_a_plus_and_eight_to_fifteen_digits",
    "1: one UUID is the call's on webhooks and socket": _SOUND_AND_ALL,
    "1: a stream's id tells its direction, and is a ULID": f"{SOCKET}::test_1_a_stream_id_tells_its_direction",
    # Apps.
    "2.1: name and answer_url are enough": REST,
    "2.1: every field is taken": REST,
    "2.1: an optional address may be null": REST,
    "2.1: a name has up to 100 characters": REST,
    "2.1: a bad body is 400": REST,
    "2.1: a body without end is 400": REST,
    "2.1: a fault is 500": REST,
    "2.1: the defaults": f"{WORDS}::test_2_1_a_new_app_has_the_defaults_of_the_contract",
    "2.1: the bounds of each field": f"{WORDS}::test_2_1_a_bad_app_is_400",
    "2.1: methods may be lower-case": f"{WORDS}::test_2_1_methods_may_be_lower_case_and_unknown_fields_are_ignored",
    "2.2: apps are told newest first": REST,
    "2.2: of none there is an empty list": REST,
    "2.2: a fault is 500": REST,
    "2.3: an app is told": REST,
    "2.3: an unknown app is 404": REST,
    "2.3: a fault is 500": REST,
    "2.4: PUT changes what is there and tells it all": REST,
    "2.4: PATCH does the same": REST,
    "2.4: null removes an address": REST,
    "2.4: an empty object changes nothing": REST,
    "2.4: a bad body is 400": REST,
    "2.4: an unknown app is 404": REST,
    "2.4: an unknown app is 404 for PATCH, too, and with nothing to change": REST,
    "2.4: a fault is 500": REST,
    "2.4: the bounds of each field": f"{WORDS}::test_2_4_a_bad_change_is_400",
    "2.4: only what is there changes": f"{WORDS}::test_2_4_only_what_is_there_changes",
    "2.4: a call goes on as it began": f"{WEBHOOKS}::test_2_4_2_5_a_call_goes_on_with_what_it_began_with",
    "2.5: an app is deleted": REST,
    "2.5: a deleted app is gone": REST,
    "2.5: its numbers are free": REST,
    "2.5: an unknown app is 404": REST,
    "2.5: a fault is 500": REST,
    "2.5: a call goes on as it began": f"{WEBHOOKS}::test_2_4_2_5_a_call_goes_on_with_what_it_began_with",
    # Numbers.
    "3.1: what is linked to no app is told": REST,
    "3.1: of none there is an empty list": REST,
    "3.1: a fault is 500": REST,
    "3.2: a number is linked": REST,
    "3.2: a number is normalised": REST,
    "3.2: once more to the same app it is the link that is there": REST,
    "3.2: an app has any count of numbers": REST,
    "3.2: no number is 400": REST,
    "3.2: an unusable number is 400": REST,
    "3.2: a number of no line is 400": REST,
    "3.2: an unknown app is 404": REST,
    "3.2: a number of another app is 409": REST,
    "3.2: a number of another contract is 409": REST,
    "3.2: a fault is 500": REST,
    "3.3: links are told newest first": REST,
    "3.3: of none there is an empty list": REST,
    "3.3: an unknown app is 404 in words of its own": REST,
    "3.3: a fault is 500": REST,
    "3.4: a number is unlinked, its plus raw": REST,
    "3.4: a number is unlinked, its plus escaped": REST,
    "3.4: at once it is available": REST,
    "3.4: at once another app can have it": REST,
    "3.4: an unknown app is 404 in words of its own": REST,
    "3.4: a number that is not linked is 404": REST,
    "3.4: a number of another app is 404": REST,
    "3.4: a fault is 500": REST,
    # Calls.
    "4.1: an order is queued": REST,
    "4.1: numbers are normalised": REST,
    "4.1: from a number that is not linked is 400": REST,
    "4.1: from a number whose app is INACTIVE is 400": REST,
    "4.1: anything else that is wrong is 400": REST,
    "4.1: a number that is none is 400": REST,
    "4.1: a fault is 500": REST,
    "4.1: the defaults": f"{WORDS}::test_4_1_an_order_has_the_defaults_of_the_contract",
    "4.1: from, to, answer_url, ring_url, hangup_url and their methods: what is wrong": _BAD_FIELD,
    "4.1: call_time_limit and ring_timeout: what is out of bounds": _BAD_FIELD,
    "4.1: call_time_limit and ring_timeout: the bounds hold": f"{WORDS}::test_4_1_limits_hold_at_their_bounds",
    "4.1: without a hangup_url the app's serves, and its fallback always": (
        f"{WORDS}::test_4_1_a_hangup_url_left_out_falls_back_to_the_app_s_and_fallback_is_always_the_app_s"
    ),
    "4.1: a bad order dials nothing": f"{HTTP}::test_every_bad_field_of_a_call_is_refused_and_nothing_is_dialed",
    "4.1: a line that is busy or has no network is told by webhook": _NOT_TAKEN,
    "4.1: call_time_limit counts from the answer, its end is COMPLETED": (
        f"{WEBHOOKS}::test_4_1_the_time_limit_counts_from_the_answer_and_ends_the_call_as_completed"
    ),
    "4.1: ring_timeout counts from the first ringback": (
        f"{BOX}::test_the_time_to_ring_counts_from_the_first_ringback"
    ),
    "4.1: ring_timeout counts from dialing where none is told": f"{BOX}::test_a_call_that_never_rings_is_given_up",
    "4.1: the end of ring_timeout is NO_ANSWER": _UNANSWERED,
    "4.2: calls have no more endpoints here": REST,
    # Webhooks in general.
    "5: POST is a flat JSON object": f"{WORDS}::test_6_2_the_answer_payload_is_flat_and_complete",
    "5: GET has the same as a query": f"{WEBHOOKS}::test_5_a_get_webhook_has_its_fields_behind_the_addresss_own",
    "5: GET keeps the address's own query": f"{WORDS}::test_5_a_get_webhook_keeps_the_query_that_the_address_has",
    "5: a field without a value is left out": (
        f"{WORDS}::test_6_7_a_call_never_answered_has_no_answer_time_and_no_duration"
    ),
    "5: no signature, no secret; User-Agent": f"{WEBHOOKS}::test_5_requests_name_the_appliance_and_carry_no_secret",
    "5: redirects are not followed": _BAD_ANSWER,
    "5: certificates are verified": f"{WEBHOOKS}::test_5_a_certificate_that_nobody_vouches_for_is_refused",
    "5: ring, answer, hangup in this order, each once": _IN_ORDER,
    "5: the call does not wait for ring": (f"{WEBHOOKS}::test_5_nothing_waits_for_a_ring_webhook_that_is_not_answered"),
    "5: hangup is sent once, and not again": (
        f"{WEBHOOKS}::test_5_a_hangup_webhook_is_sent_once_whatever_becomes_of_it"
    ),
    "5: hangup comes after the socket's close": _SOUND_AND_ALL,
    "5: hangup comes when the answer webhook failed": _BAD_ANSWER,
    "5: hangup comes when nobody answered": _UNANSWERED,
    # The answer webhook.
    "6.1: off the hook first, then asked": f"{WEBHOOKS}::test_6_1_a_call_is_answered_first_and_then_asked_about",
    "6.1: outbound, asked when the callee has answered": _IN_ORDER,
    "6.1: a number without an app is left to ring": (
        f"{CALLS}::test_a_call_to_a_number_without_an_app_is_left_to_ring"
    ),
    "6.1: an INACTIVE app's too": f"{WEBHOOKS}::test_6_1_a_call_for_an_inactive_app_is_not_answered_and_not_told",
    "6.2: the payload of an outbound call": f"{WORDS}::test_6_2_the_answer_payload_is_flat_and_complete",
    "6.2: the payload of an inbound call": f"{WEBHOOKS}::test_6_1_a_call_is_answered_first_and_then_asked_about",
    "6.2: a withheld number is anonymous": f"{WEBHOOKS}::test_6_2_a_withheld_number_is_anonymous",
    "6.3: url is enough, PCMA at 8000 and all defaults": f"{REPLY}::test_6_3_only_the_url_is_needed",
    "6.3: the documented sample": f"{REPLY}::test_6_3_the_documented_sample_is_read_whole",
    "6.3: names and words in any case, unknown fields ignored": _ANY_CASE,
    "6.3: url, what is wrong": _BAD_REPLY,
    "6.3: codec, what is wrong": _BAD_REPLY,
    "6.3: sample_rate, of L16": f"{REPLY}::test_6_3_l16_has_six_rates",
    "6.3: sample_rate, what is wrong": _BAD_REPLY,
    "6.3: direction, what is wrong": _BAD_REPLY,
    "6.3: bidirectional, what is wrong": _BAD_REPLY,
    "6.3: stream_timeout, out of bounds": _BAD_REPLY,
    "6.3: keep_call_alive, what is wrong": _BAD_REPLY,
    "6.3: url of ws and wss, each codec, each direction, stream_timeout and extra_headers at their bounds": (
        f"{REPLY}::test_6_3_what_is_within_its_bounds_is_taken"
    ),
    "6.3: extra_headers, and null": f"{REPLY}::test_6_3_extra_headers_are_taken_and_null_is_none",
    "6.3: extra_headers, what is wrong": _BAD_REPLY,
    "6.4: BOTH, INBOUND, OUTBOUND, bidirectional false: what flows": _DIRECTION,
    "6.4: keys are told, clearAudio and checkpoint answered in all of them": _DIRECTION,
    "6.5: no answer in 10 s": _TEN_SECONDS,
    "6.5: unreachable, another status than 200, no Stream JSON": _BAD_ANSWER,
    "6.5: any reply is an order or a failure": f"{REPLY}::test_6_5_any_reply_is_an_order_or_a_fault_with_words",
    "6.5: the fallback has the same payload, its own method and its own 10 s": (
        f"{WEBHOOKS}::test_6_5_the_fallback_has_the_same_payload_a_method_of_its_own_and_ten_seconds_more"
    ),
    "6.5: when it fails too the call is FAILED": (f"{CUSTOMER}::test_when_the_fallback_fails_too_the_call_has_failed"),
    "6.5: who hangs up meanwhile has COMPLETED": (
        f"{CUSTOMER}::test_a_caller_who_hangs_up_while_the_customer_is_asked_is_a_completed_call"
    ),
    "6.6: the ring payload": f"{WORDS}::test_5_a_get_webhook_keeps_the_query_that_the_address_has",
    "6.6: without ring_url there is none": (f"{WEBHOOKS}::test_6_6_without_a_ring_url_nobody_hears_of_the_ringing"),
    "6.7: the payload of an answered call": f"{WORDS}::test_6_7_the_hangup_payload_of_an_answered_call",
    "6.7: the payload of a call that was not answered": (
        f"{WORDS}::test_6_7_a_call_never_answered_has_no_answer_time_and_no_duration"
    ),
    "6.7: COMPLETED": _SOUND_AND_ALL,
    "6.7: NO_ANSWER, BUSY and FAILED by the network's cause": (
        f"{WEBHOOKS}::test_6_7_a_call_that_is_not_answered_is_told_by_what_the_network_says"
    ),
    "6.7: CANCELED": f"{WORDS}::test_6_7_an_inbound_call_that_the_caller_gave_up_is_canceled_with_one_l",
    # The socket.
    "7.1: the address to the letter, the headers, no subprotocol, no compression": (
        f"{WIRE}::test_path_query_and_headers_are_the_customers_own"
    ),
    "7.1: headers of the handshake itself are refused": _BAD_REPLY,
    "7.1: the server's pings are answered": f"{PEER}::test_7_1_the_servers_pings_are_answered",
    "7.1: a ping every 20 s, and 20 s for its pong": f"{WIRE_FAULTS}::test_a_server_that_sends_no_pong_is_lost",
    "7.1: a handshake has 10 s": f"{WIRE_FAULTS}::test_a_server_that_never_answers_the_handshake_is_given_ten_seconds",
    "7.1: frames of up to 16 MiB": f"{WIRE}::test_texts_and_binaries_are_received_up_to_16_mib",
    "7.1: binary frames are counted and not played": _FAULTS,
    "7.2: connect, start, then media": f"{STREAM}::test_start_comes_first_then_a_frame_for_each_tick",
    "7.2: there is no stop": f"{STREAM_END}::test_the_calls_end_closes_with_1000_and_what_was_said_before_arrives",
    "7.3: start": f"{SOCKET}::test_7_3_start_is_flat",
    "7.4: media": f"{SOCKET}::test_7_4_media_is_one_object_around_its_payload",
    "7.4: PCMA": SOUND,
    "7.4: PCMU": SOUND,
    "7.4: L16 at 8000": SOUND,
    "7.4: L16 at 16000": SOUND,
    "7.4: L16 at 24000": SOUND,
    "7.4: L16 at 32000": SOUND,
    "7.4: L16 at 44100": SOUND,
    "7.4: L16 at 48000": SOUND,
    "7.4: L16 is little-endian, and 48000 Hz are pure both ways": (
        f"{SOUND}::test_7_4_a_tone_at_48000_is_pure_both_ways_and_no_sample_is_lost"
    ),
    "7.4: ten minutes at 44100 and 48000 without drift": (
        f"{QUEUE}::test_an_echo_in_high_definition_stays_pure_and_in_step_for_ten_minutes"
    ),
    "7.4: a silent line is the codec's silence": f"{STREAM}::test_a_silent_line_is_digital_silence",
    "7.4: beyond 2 s the oldest are dropped": (
        f"{STREAM}::test_a_stalled_server_costs_its_own_frames_and_nobody_elses"
    ),
    "7.5: the sixteen keys, nested and flat": f"{SOCKET}::test_7_5_a_digit_is_told_nested_and_flat",
    "7.5: each key once": f"{STREAM}::test_each_key_is_told_once",
    "7.6: playAudio": f"{SOCKET}::test_7_6_play_carries_the_decoded_bytes",
    "7.6: contentType and sampleRate may be left out": (
        f"{SOCKET}::test_7_6_what_a_message_does_not_state_is_as_in_the_stream"
    ),
    "7.6: a streamId that is wrong, and none": _FAULTS,
    "7.6: any size at any speed is played without a gap": (
        f"{STREAM}::test_what_the_server_plays_is_heard_on_the_line_and_by_its_ears"
    ),
    "7.6: a part of a frame is padded, then silence, and no frame twice": (
        f"{SOUND}::test_7_6_when_nothing_is_queued_the_caller_hears_silence_and_no_frame_twice"
    ),
    "7.6: half a sample of L16 is dropped whole": f"{SOCKET}::test_7_6_an_odd_number_of_l16_bytes_is_dropped_whole",
    "7.6: each alias of a contentType, in any case": f"{SOCKET}::test_7_6_aliases_in_any_case",
    "7.6: a rate in the contentType": (
        f"{SOCKET}::test_7_6_a_rate_in_the_content_type_serves_when_there_is_none_beside_it"
    ),
    "7.6: sampleRate as a text": f"{SOCKET}::test_7_6_a_rate_may_be_a_numeric_string",
    "7.6: played by what the message says": (
        f"{STREAM}::test_audio_in_another_codec_than_the_streams_is_played_by_what_it_says"
    ),
    "7.6: an unknown contentType is dropped": f"{SOCKET}::test_7_6_an_unknown_content_type_is_dropped",
    "7.6: bad base64 is dropped": f"{SOCKET}::test_7_6_base64_is_of_the_standard_alphabet_and_padded",
    "7.6: no payload is dropped": f"{SOCKET}::test_7_6_a_play_without_payload_is_dropped",
    "7.6: what is no JSON is dropped": f"{SOCKET}::test_7_6_what_is_not_json_is_dropped",
    "7.6: an unknown event is dropped": f"{SOCKET}::test_7_6_an_unknown_event_is_dropped",
    "7.6: each is logged once, and the socket stays": _FAULTS,
    "7.6: ten minutes are queued, and no more": f"{STREAM}::test_7_6_more_than_ten_minutes_are_not_queued",
    "7.7: clearAudio, with a streamId and without": f"{SOCKET}::test_7_7_clear_needs_nothing_but_its_name",
    "7.7: clearedAudio": f"{SOCKET}::test_7_7_cleared_tells_the_stream",
    "7.7: what is queued goes, checkpoints with it; once a command; what comes after is played": _CLEAR,
    "7.8: checkpoint and playedStream, the name verbatim": (
        f"{SOCKET}::test_7_8_a_checkpoint_comes_back_with_its_name_verbatim"
    ),
    "7.8: no name, and one of 1025 characters": f"{SOCKET}::test_7_8_a_checkpoint_without_a_name_is_dropped",
    "7.8: at once with nothing queued, in order, the same name twice": _CHECKPOINTS,
    "7.9: a party hangs up: 1000, then the hangup webhook": (
        f"{END}::test_7_9_when_a_party_hangs_up_the_socket_is_closed_with_1000_and_then_it_is_told"
    ),
    "7.9: call_time_limit is reached": (
        f"{WEBHOOKS}::test_4_1_the_time_limit_counts_from_the_answer_and_ends_the_call_as_completed"
    ),
    "7.9: stream_timeout is reached": END,
    "7.9: the server closes with 1000": END,
    "7.9: the server closes with 1008": END,
    "7.9: which codes are final": f"{SOCKET}::test_7_9_which_closes_are_an_end",
    "7.9: any other code, or none, is a loss": _LOSS,
    "7.9: reconnecting failed three times": END,
    "7.9: kept alive until call_time_limit": f"{END}::test_7_9_a_call_that_is_kept_alive_ends_at_its_time_limit",
    "7.9: a farewell is heard, ten seconds of it": (
        f"{STREAM_END}::test_7_9_a_farewell_is_heard_for_ten_seconds_at_most"
    ),
    "7.10: three attempts, after 1, 2 and 4 s": (
        f"{STREAM_END}::test_7_10_where_nobody_is_it_gives_up_after_1_2_and_4_seconds"
    ),
    "7.10: start again, with the same streamId and callId": _LOSS,
    "7.10: the same address, query and headers": (
        f"{PEER}::test_7_10_a_new_connection_has_the_same_address_and_headers"
    ),
    "7.10: 30 s of connection give all attempts back": (
        f"{STREAM_END}::test_7_10_thirty_seconds_of_connection_give_all_attempts_back"
    ),
    "7.10: what the caller says in the gap is lost": _GAP,
    "7.10: what is queued for the caller plays on": _GAP,
    "7.10: a checkpoint passed in the gap is told after the new start": _GAP,
    "7.10: the first connection is tried again like any other": (
        f"{STREAM_END}::test_7_10_another_status_is_tried_again"
    ),
    "7.10: 401, 403 and 404 are final": f"{STREAM_END}::test_7_10_a_handshake_answered_so_is_final",
    "7.10: a handshake is answered 403 after a loss": END,
    "7.10: the call may end while the server is away": (f"{END}::test_7_9_a_party_hangs_up_while_the_server_is_away"),
    "7.11: start, nested": f"{SOCKET}::test_7_11_start_is_nested_and_flat",
    "7.11: sequenceNumber, chunk and timestamp": f"{STREAM}::test_7_11_all_that_is_sent_is_numbered_in_order",
    "7.11: sequenceNumber goes on over a reconnect": f"{PEER}::test_7_11_numbers_go_on_over_a_reconnect",
    "7.11: dtmf": f"{SOCKET}::test_7_11_a_key_tells_its_track_and_time",
    "7.11: sendDTMF": f"{STREAM}::test_7_11_keys_for_the_far_end_are_pressed_in_order",
    "7.11: off, sendDTMF is an unknown event": f"{SOCKET}::test_7_6_an_unknown_event_is_dropped",
    "7.11: chosen by the app or by the Stream JSON": (
        f"{REPLY}::test_7_11_the_stream_s_words_are_its_own_or_the_app_s"
    ),
    # Sound.
    "8: PCMA at 8000 is a passage for bytes, from an A-law line": (
        f"{SOUND}::test_8_each_code_from_an_a_law_line_is_that_code_on_the_socket"
    ),
    "8: PCMA at 8000 is a passage for bytes, to an A-law line": (
        f"{SOUND}::test_8_each_code_from_the_socket_is_that_code_on_an_a_law_line"
    ),
    "8: INBOUND halves the traffic": f"{SOUND}::test_8_inbound_halves_the_traffic",
}

_KEPT: dict[str, set[str]] = {}
for _row, _keeper in CONTRACT.items():
    _KEPT.setdefault(_keeper, set()).add(_row)


def keywords(file: str, function: str, parameters: str) -> set[str]:
    """What a test is found by, as `section_7_9`; the file is below tests/."""
    rows = _KEPT.get(f"{file}::{function}", set()) | {parameters}
    sections = (re.match(r"(\d(?:\.\d+)?): ", row) for row in rows)
    return {"section_" + section[1].replace(".", "_") for section in sections if section}
