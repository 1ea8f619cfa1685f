using System.Text;

namespace LoraNet.Cuda.Ptx;

/// <summary>
/// Collects the text of one kernel: parameters, register declarations (all at the top, checked for conflicting types),
/// labels and instructions. Instructions are written as PTX; several may share a line.
/// </summary>
internal sealed class PtxWriter(PtxArch arch, string entry, int threads, int minBlocks = 1)
{
    private readonly StringBuilder _body = new();
    private readonly List<(string Type, string Name)> _parameters = [];
    private readonly Dictionary<string, (string Type, string Range)> _registers = [];
    private readonly List<string> _order = [];
    private int _labels;

    /// <summary>The target.</summary>
    public PtxArch Arch { get; } = arch;

    /// <summary>Threads of a block.</summary>
    public int Threads { get; } = threads;

    /// <summary>Appends instructions.</summary>
    public void L(string text) => _body.Append(text).Append('\n');

    /// <summary>Declares registers of one type; names are separated by spaces. A name may be declared again with the same type.</summary>
    public void Reg(string type, string names)
    {
        foreach (string n in names.Split(' ', StringSplitOptions.RemoveEmptyEntries)) Declare(n, type, "");
    }

    /// <summary>A range and a single register (or two ranges) must not share a name: that clash would compile and compute nonsense.</summary>
    private void Declare(string name, string type, string range)
    {
        if (!_registers.TryGetValue(name, out (string Type, string Range) old))
        {
            _registers[name] = (type, range);
            _order.Add(name);
        }
        else if (old != (type, range)) throw new InvalidOperationException($"Register {name} is both .{old.Type} {old.Range} and .{type} {range}.");
    }

    /// <summary>Declares <paramref name="count"/> registers prefix0, prefix1, ... and returns their names.</summary>
    public string[] Regs(string type, string prefix, int count)
    {
        string[] names = [.. Enumerable.Range(0, count).Select(i => $"{prefix}{i}")];
        foreach (string n in names) Declare(n, type, prefix + "*");
        return names;
    }

    /// <summary>Declares a parameter and a register of the same name that <see cref="LoadParameters"/> fills. Types: u64 (pointer), b64, u32, f32, map.</summary>
    public void Param(string type, string names)
    {
        foreach (string n in names.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            _parameters.Add((type, n));
            Reg(type switch { "u32" => "b32", "f32" => "f32", _ => "b64" }, n);
        }
    }

    /// <summary>Loads every parameter into its register; pointers become global addresses, tensor maps the address of the parameter itself.</summary>
    public void LoadParameters()
    {
        foreach ((string type, string n) in _parameters)
            L(type switch
            {
                "map" => $"mov.b64 {n}, p_{n}; cvta.param.u64 {n}, {n};",
                "u64" => $"ld.param.u64 {n}, [p_{n}]; cvta.to.global.u64 {n}, {n};",
                "b64" => $"ld.param.u64 {n}, [p_{n}];",
                _ => $"ld.param.{type} {n}, [p_{n}];",
            });
    }

    /// <summary>A label name that nothing else uses.</summary>
    public string Label(string prefix) => $"{prefix}_{_labels++}";

    /// <summary>The finished module.</summary>
    public PtxKernelText Build(int sharedBytes)
    {
        StringBuilder s = new();
        s.Append($".version {Arch.IsaVersion()}\n.target {Arch.Target()}\n.address_size 64\n");
        if (sharedBytes > 0) s.Append(".extern .shared .align 1024 .b8 smem[];\n");
        s.Append($".visible .entry {entry}(");
        s.AppendJoin(",\n  ", _parameters.Select(p => p.Type == "map" ? $".param .align 64 .b8 p_{p.Name}[128]" : $".param .{(p.Type == "b64" ? "u64" : p.Type)} p_{p.Name}"));
        s.Append($")\n.maxntid {Threads}, 1, 1 .minnctapersm {minBlocks}\n{{\n");
        foreach (IGrouping<string, string> g in _order.GroupBy(n => _registers[n].Type))
            foreach (string[] chunk in g.Chunk(24)) s.Append($".reg .{g.Key} ").AppendJoin(", ", chunk).Append(";\n");
        s.Append(_body).Append("ret;\n}\n");
        return new PtxKernelText(s.ToString(), entry, Threads, sharedBytes);
    }

    /// <summary>A 32-bit float literal.</summary>
    public static string F32(float value) => $"0f{BitConverter.SingleToUInt32Bits(value):X8}";

    /// <summary>Register names as a PTX vector.</summary>
    public static string Vec(params IEnumerable<string> names) => "{" + string.Join(",", names) + "}";
}
