#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* tool FROM TO: copies, reading with system calls and writing with stdio. */
int main(int count, char **words) {
    char buffer[4096];
    long size;
    int from = count == 3 ? open(words[1], O_RDONLY) : -1;
    FILE *to = from >= 0 ? fopen(words[2], "w") : 0;
    if (!to)
        return 1;
    while ((size = read(from, buffer, sizeof buffer)) > 0)
        fwrite(buffer, 1, (size_t)size, to);
    return fclose(to) != 0;
}
