/* What the lanes' turns may ask of a lane beyond engine.h; any thread. See lane.c. */
#pragma once

#include "port.h"

int lane_turn(lane *l);      /* reads and sends; lane_news */
lanes **lane_place(lane *l); /* among which others it is; control's */
int lane_told(lane *l);      /* what turns have told since the last time */
