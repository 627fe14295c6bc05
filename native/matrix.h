/* Which ports a port hears; the tick's own. See matrix.c. */
#pragma once

#include "port.h"

/* Has the place of the connection from the same source, if there was one, which it returns; NULL: none. */
connection *matrix_put(port *sink, connection *link);

/* Moves every connection from source (NULL: any) to sink out of the matrix, to *out. */
void matrix_cut(port *sink, port *source, connection **out);
