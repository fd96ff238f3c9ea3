"""The number of a frame, in its pixels.

A frame is 320 x 240. Its left upper part is a grid of eight by four squares of 32 pixels: two rows show the 16 bits of
the number (highest first, white is 1), two rows show them inverted. So a grey, torn or foreign picture has no number.
The rest is a bar that moves, to give the encoder some work.
"""

WIDTH, HEIGHT = 320, 240
SQUARE = 32
COLUMNS = 8
BITS = 16
BLACK, GREY, WHITE = 32, 128, 224


def luma(number):
    """The Y plane of frame `number`, rows of WIDTH bytes. The U and V planes are GREY."""
    bits = [number >> (BITS - 1 - n) & 1 for n in range(BITS)]
    cells = bits + [1 - bit for bit in bits]
    margin = bytearray([GREY]) * (WIDTH - COLUMNS * SQUARE)
    plane = bytearray()
    for first in range(0, len(cells), COLUMNS):
        row = b"".join(bytes([WHITE if cell else BLACK]) * SQUARE for cell in cells[first : first + COLUMNS])
        plane += (row + margin) * SQUARE
    bar = bytearray([GREY]) * WIDTH
    at = number * 4 % (WIDTH - 16)
    bar[at : at + 16] = bytes([WHITE]) * 16
    return bytes(plane + bar * (HEIGHT - len(plane) // WIDTH))


def i420(number):
    """The whole frame: Y, U and V planes without padding."""
    return luma(number) + bytes([GREY]) * (WIDTH * HEIGHT // 2)


def number(plane, stride, width, height):
    """The number in a Y plane of any size; None where there is none."""
    cells = []
    for cell in range(2 * BITS):
        column, row = cell % COLUMNS, cell // COLUMNS
        x = int((column + 0.5) * SQUARE * width / WIDTH)
        y = int((row + 0.5) * SQUARE * height / HEIGHT)
        samples = [plane[(y + dy) * stride + x + dx] for dy in (-2, 0, 2) for dx in (-2, 0, 2)]
        cells.append(1 if sum(samples) > GREY * len(samples) else 0)
    if any(bit == inverse for bit, inverse in zip(cells[:BITS], cells[BITS:])):
        return None
    value = 0
    for bit in cells[:BITS]:
        value = value << 1 | bit
    return value
