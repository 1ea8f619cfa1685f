using System.Globalization;
using System.Text;

namespace LoraNet.Generators;

/// <summary>
/// Writes src/LoraNet.Tensors/Cpu/TileKernel.cs: twelve rows of the same lines, which C# can't write as a loop because every
/// accumulator must be a local variable of its own to stay in a register. A test compares the file with this text.
/// </summary>
internal static class TileKernelSource
{
    /// <summary>Rows of the largest tile.</summary>
    private const int Rows = 12;

    private const string Head =
        """
        using System.Runtime.CompilerServices;
        using LoraNet.Tensors.Operators;

        namespace LoraNet.Tensors.Cpu;

        /// <summary>
        /// The innermost loop of every matrix product: a tile of up to 12 rows by two vectors is kept in registers while k runs;
        /// per k it reads two vectors of B and broadcasts one element of A per row. Rows beyond <c>TRows</c>, and the layout of A,
        /// are constants for the compiler, so every tail has its own straight loop.
        /// </summary>
        internal static unsafe class TileKernel<TSimd, TVector>
            where TSimd : struct, ISimd<TVector> where TVector : unmanaged
        {
            /// <summary>Rows of a full tile: as many as the registers hold with two accumulators each.</summary>
            public static int MaxRows => TSimd.Width == 16 || System.Runtime.Intrinsics.Arm.AdvSimd.Arm64.IsSupported ? 12 : 6;

            /// <summary>Columns of a tile.</summary>
            public static int Columns => 2 * TSimd.Width;

            /// <summary>C tile = (C or bias or 0) + A·B + lowA·lowB, for 1 to <see cref="MaxRows"/> rows.</summary>
            public static void Run<TPanel, TLayout>(int rows, TileArguments* t)
                where TPanel : struct, IPanelType where TLayout : struct, ITileLayout
            {
                switch (rows)
                {
        """;

    private const string Body =
        """
                    default: throw new ArgumentOutOfRangeException(nameof(rows));
                }
            }

            [MethodImpl(MethodImplOptions.AggressiveOptimization)]
            private static void Run<TPanel, TLayout, TRows>(TileArguments* t)
                where TPanel : struct, IPanelType where TLayout : struct, ITileLayout where TRows : struct, ITileRows
            {
        """;

    private const string Start =
        """
                float* c = t->C;
                nint ldc = t->CStride;
                if (t->LoadC)
                {
        """;

    private const string Tail =
        """
            /// <summary>Asks for the lines of two vectors; any address is allowed. Nothing where .NET offers no such instruction.</summary>
            [MethodImpl(MethodImplOptions.AggressiveInlining)]
            private static void Prefetch(byte* address)
            {
                if (!System.Runtime.Intrinsics.X86.Sse.IsSupported) return;
                System.Runtime.Intrinsics.X86.Sse.Prefetch0(address);
                if (TSimd.Width * sizeof(float) >= 64) System.Runtime.Intrinsics.X86.Sse.Prefetch0(address + 64);
            }
        }
        """;

    /// <summary>Where the file stands in the repository.</summary>
    public static string Path => "src/LoraNet.Tensors/Cpu/TileKernel.cs";

    /// <summary>The whole file.</summary>
    public static string Write()
    {
        Lines text = new();
        text.Block(Head);
        for (int r = 1; r <= Rows; r++) text.Line(3, $"case {r}: Run<TPanel, TLayout, Rows{r}>(t); break;");
        text.Block(Body);
        text.Line(2, $"TVector {Accumulators(0, Rows / 2)};");
        text.Line(2, $"TVector {Accumulators(Rows / 2, Rows)};");
        for (int r = 0; r < Rows; r++) text.Line(2, $"c{r}0 = c{r}1 = TSimd.Broadcast(0f);");
        text.Block(Start);
        EachRow(text, 3, static r => [$"c{r}0 = TSimd.Load({Row("c", "ldc", r)});", $"c{r}1 = TSimd.Load({Row("c", "ldc", r)} + TSimd.Width);"]);
        text.Line(2, "}");
        text.Line(2, "else if (t->Bias != null)");
        text.Line(2, "{");
        text.Line(3, "c00 = TSimd.Load(t->Bias);");
        text.Line(3, "c01 = TSimd.Load(t->Bias + TSimd.Width);");
        for (int half = 0; half < 2; half++) text.Line(3, string.Join(" = ", Enumerable.Range(0, Rows).Reverse().Select(r => $"c{r}{half}")) + ";");
        text.Line(2, "}");
        text.Line(2, "nint k, stride, step, bStep;");
        text.Line(2, $"byte* {string.Join(", ", Enumerable.Range(0, Rows / 3).Select(g => $"a{3 * g}"))}, b;");
        Product(text, 2, "", "TPanel", farB: true);
        text.Line(2, "if (t->LowDepth > 0)");
        text.Line(2, "{");
        Product(text, 3, "Low", "PanelF32", farB: false);
        text.Line(2, "}");
        EachRow(text, 2, static r => [$"TSimd.Store(c{r}0, {Row("c", "ldc", r)});", $"TSimd.Store(c{r}1, {Row("c", "ldc", r)} + TSimd.Width);"]);
        text.Line(1, "}");
        text.Line(0, "");
        text.Block(Tail);
        return text.ToString();
    }

    // One loop over k: the wide product, or the low-rank one behind it.
    private static void Product(Lines text, int indent, string low, string panel, bool farB)
    {
        text.Line(indent, $"k = t->{low}Depth;");
        text.Line(indent, $"a0 = (byte*)t->{low}A;");
        text.Line(indent, $"stride = t->{low}AStride * sizeof(float);");
        // A pointer for every third row: the processor's addresses have room for one and two strides.
        for (int r = 3; r < Rows; r += 3) text.Line(indent, $"a{r} = a{r - 3} + 3 * stride;");
        text.Line(indent, "step = TLayout.RowMajor ? sizeof(float) : stride;");
        text.Line(indent, $"b = (byte*)t->{low}B;");
        text.Line(indent, $"bStep = t->{low}BStride * {panel}.Size;");
        text.Line(indent, "for (; k > 0; k--)");
        text.Line(indent, "{");
        text.Line(indent + 1, $"TVector b0 = {panel}.Load<TSimd, TVector>(b);");
        text.Line(indent + 1, $"TVector b1 = {panel}.Load<TSimd, TVector>(b + TSimd.Width * {panel}.Size);");
        if (farB) text.Line(indent + 1, "if (TLayout.FarB) Prefetch(b + 24 * bStep);");
        text.Line(indent + 1, "b += bStep;");
        text.Line(indent + 1, "TVector a;");
        EachRow(text, indent + 1, static r =>
        [
            $"a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)({Row($"a{r / 3 * 3}", "stride", r % 3)}) : ((float*)a0)[{r}]);",
            $"c{r}0 = TSimd.MultiplyAdd(a, b0, c{r}0);",
            $"c{r}1 = TSimd.MultiplyAdd(a, b1, c{r}1);",
        ]);
        text.Line(indent + 1, "a0 += step;");
        text.Line(indent + 1, "if (TLayout.RowMajor)");
        text.Line(indent + 1, "{");
        for (int r = 3; r < Rows; r += 3) text.Line(indent + 2, $"if (TRows.Value > {r}) a{r} += sizeof(float);");
        text.Line(indent + 1, "}");
        text.Line(indent, "}");
    }

    // The first row is always there, the others only in tiles that have them.
    private static void EachRow(Lines text, int indent, Func<int, string[]> lines)
    {
        foreach (string line in lines(0)) text.Line(indent, line);
        for (int r = 1; r < Rows; r++)
        {
            text.Line(indent, $"if (TRows.Value > {r})");
            text.Line(indent, "{");
            foreach (string line in lines(r)) text.Line(indent + 1, line);
            text.Line(indent, "}");
        }
    }

    private static string Row(string start, string stride, int r) => r switch { 0 => start, 1 => $"{start} + {stride}", _ => $"{start} + {r} * {stride}" };

    private static string Accumulators(int from, int to) => string.Join(", ", Enumerable.Range(from, to - from).Select(r => $"c{r}0, c{r}1"));

    private sealed class Lines
    {
        private readonly StringBuilder _text = new();

        public void Line(int indent, string line)
        {
            if (line.Length > 0) _text.Append(' ', 4 * indent);
            _text.Append(CultureInfo.InvariantCulture, $"{line}\n");
        }

        public void Block(string block) => _text.Append(block.ReplaceLineEndings("\n")).Append('\n');

        public override string ToString() => _text.ToString();
    }
}
