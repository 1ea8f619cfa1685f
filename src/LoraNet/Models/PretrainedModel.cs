using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>
/// A frozen base model as a tree of modules with Hugging Face paths, and the adapters over it. Base weights are mapped and
/// never written; attaching, switching, disabling and removing adapters changes only which layers are active.
/// </summary>
public abstract class PretrainedModel : IDisposable
{
    private readonly Dictionary<string, Module> _modules = [];
    private readonly List<Module> _order = [];
    private readonly Dictionary<string, LoraAdapter> _adapters = [];
    private readonly Dictionary<string, BaseTensor> _tensors = [];
    private readonly List<string> _active = [];
    private bool _disabled;
    private int _versions, _switches;

    /// <summary>Creates the model without modules.</summary>
    protected PretrainedModel(Backend backend, ModelConfig config, IWeightSource weights) => (Backend, Config, Weights) = (backend, config, weights);

    /// <summary>Where it is computed.</summary>
    public Backend Backend { get; }

    /// <summary>config.json.</summary>
    public ModelConfig Config { get; }

    /// <summary>The stored tensors.</summary>
    public IWeightSource Weights { get; }

    /// <summary>Modules in order of the forward pass.</summary>
    public IReadOnlyList<Module> Modules => _order;

    /// <summary>Attached adapters by name.</summary>
    public IReadOnlyDictionary<string, LoraAdapter> Adapters => _adapters;

    /// <summary>Names of the active adapters; their contributions are summed.</summary>
    public IReadOnlyList<string> ActiveAdapters => _active;

    /// <summary>Path of the output head, which all-linear leaves out, or null.</summary>
    public abstract string? OutputHeadPath { get; }

    /// <summary>Default LoRA targets of the family.</summary>
    public abstract IReadOnlyList<string> DefaultTargets { get; }

    /// <summary>(IA)³'s default targets: keys, values and the feed-forward's last layer, and which of them scale their inputs.</summary>
    public abstract (IReadOnlyList<string> Targets, IReadOnlyList<string> FeedForward) Ia3Targets { get; }

    /// <summary>PEFT's task_type of the model, written to new adapters.</summary>
    public virtual string TaskType => "CAUSAL_LM";

    /// <summary>Parameters of the active adapters that are trained.</summary>
    public IEnumerable<Parameter> TrainableParameters => _active.SelectMany(n => _adapters[n].Parameters).Where(p => p.Trainable);

    /// <summary>Number of values of the base model, tied tensors counted once.</summary>
    public long BaseParameterCount => _order.SelectMany(m => m.Tensors).DistinctBy(t => t.Source.Address).Sum(t => t.Source.Count);

    /// <summary>The module at a path, or null.</summary>
    public Module? Find(string path) => _modules.GetValueOrDefault(path);

    /// <summary>Attaches a new adapter, initialised from <paramref name="seed"/>, makes it active and trainable, and returns it.</summary>
    /// <exception cref="LoraNetException">A target, exclude or pattern entry matches nothing, or the name is taken.</exception>
    public LoraAdapter AddAdapter(LoraConfig config, string name = "default", ulong seed = 42)
    {
        CheckNewName(name);
        return Attach(AdapterBuilder.Create(this, name, config, seed));
    }

    /// <summary>The paper card's and PEFT's name for <see cref="AddAdapter"/>; returns the same model.</summary>
    public PretrainedModel GetPeftModel(LoraConfig config, ulong seed = 42)
    {
        AddAdapter(config, "default", seed);
        return this;
    }

    /// <summary>Attaches an adapter built elsewhere (loaded from files) and makes it active.</summary>
    public LoraAdapter Attach(LoraAdapter adapter, bool trainable = true)
    {
        CheckNewName(adapter.Name);
        _adapters.Add(adapter.Name, adapter);
        SetAdapter(trainable, adapter.Name);
        return adapter;
    }

    /// <summary>Makes these adapters the active ones (their sum), trainable.</summary>
    public void SetAdapter(params IReadOnlyList<string> names) => SetAdapter(trainable: true, names);

    /// <summary>Makes these adapters the active ones (their sum).</summary>
    /// <exception cref="LoraNetException">A name is unknown, or two adapters replace the same base tensor.</exception>
    public void SetAdapter(bool trainable, params IReadOnlyList<string> names)
    {
        foreach (string name in names)
            if (!_adapters.ContainsKey(name)) throw Unknown(name);
        _switches++;
        _active.Clear();
        _active.AddRange(names);
        foreach (LoraAdapter adapter in _adapters.Values)
            foreach (Parameter parameter in adapter.Parameters) parameter.Trainable = trainable && names.Contains(adapter.Name);
        Apply();
    }

    /// <summary>Runs the base model until the returned object is disposed; then the adapters are active again.</summary>
    public IDisposable DisableAdapter()
    {
        bool before = _disabled;
        Action back = Back();
        _disabled = true;
        Apply();
        return new Restore(() =>
        {
            _disabled = before;
            back();
        });
    }

    /// <summary>Removes an adapter and frees its tensors. The base model is as it was before.</summary>
    public void DeleteAdapter(string name)
    {
        if (!_adapters.Remove(name, out LoraAdapter? adapter)) throw new LoraNetException($"No adapter is called '{name}'.");
        _active.Remove(name);
        _switches++;
        Apply();
        adapter.Dispose();
    }

    /// <summary>Prepares the frozen weights of products on the backend, so that the first step does not wait for it.</summary>
    public void Prepare()
    {
        foreach (Module module in _order) (module as LinearModule)?.Weight.Prepare();
    }

    /// <inheritdoc/>
    public virtual void Dispose()
    {
        foreach (LoraAdapter adapter in _adapters.Values) adapter.Dispose();
        foreach (BaseTensor tensor in _tensors.Values) tensor.Standin = null;
        foreach (BaseTensor tensor in _tensors.Values) if (tensor.Weight is not null) Backend.Drop(tensor.Weight);
        _adapters.Clear();
        Weights.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The base tensor of this name, shared by all modules that use it.</summary>
    protected BaseTensor Tensor(string name, bool transposed = false)
    {
        if (_tensors.TryGetValue(name, out BaseTensor? tensor)) return tensor;
        return _tensors[name] = new BaseTensor(Backend, name, Weights.Get(name), transposed);
    }

    /// <summary>The base tensor of this name, checked for shape.</summary>
    protected BaseTensor Tensor(string name, bool transposed, params ReadOnlySpan<int> shape)
    {
        BaseTensor tensor = Tensor(name, transposed);
        if (!tensor.Source.Shape.SequenceEqual(shape))
            throw new LoraNetException($"Tensor '{name}' has shape [{string.Join(", ", tensor.Source.Shape.ToArray())}]; config.json implies [{string.Join(", ", shape.ToArray())}].",
                "The weights and config.json belong to different models.");
        return tensor;
    }

    /// <summary>Makes a second name for an existing tensor: a tied head.</summary>
    protected BaseTensor Tie(string name, BaseTensor original)
    {
        return _tensors[name] = new BaseTensor(Backend, name, original.Source, original.Transposed, original.Weight);
    }

    /// <summary>Whether the files have a tensor of this name.</summary>
    protected bool Has(string name) => Weights.TryGet(name, out _);

    /// <summary>Registers a module.</summary>
    protected T Register<T>(T module) where T : Module
    {
        _modules.Add(module.Path, module);
        _order.Add(module);
        return module;
    }

    /// <summary>A linear layer; the bias is taken when the files have one.</summary>
    protected LinearModule Linear(string path, int outputs, int inputs, bool transposed = false, bool wideOutput = false)
    {
        BaseTensor weight = transposed ? Tensor(path + ".weight", true, inputs, outputs) : Tensor(path + ".weight", false, outputs, inputs);
        BaseTensor? bias = Has(path + ".bias") ? Tensor(path + ".bias", false, outputs) : null;
        return Register(new LinearModule(path, weight, bias) { WideOutput = wideOutput });
    }

    private void CheckNewName(string name)
    {
        if (name == RowAdapters.Base) throw new LoraNetException($"An adapter cannot be called '{name}': the name stands for the base model in mixed batches.", "Choose another name.");
        if (_adapters.ContainsKey(name)) throw new LoraNetException($"An adapter called '{name}' is attached already.", "Choose another name or remove it first.");
    }

    /// <summary>
    /// Until the returned object is disposed, the layers of all these adapters take part in a forward pass, in which masks say
    /// which rows they serve.
    /// </summary>
    /// <param name="names">Adapters of the rows: a name, <c>__base__</c>, or null for the active ones.</param>
    /// <exception cref="LoraNetException">A name is unknown, or an adapter changes more than a low-rank part that rows can do without.</exception>
    internal IDisposable UseByRow(IReadOnlyCollection<string?> names)
    {
        HashSet<string> used = [];
        foreach (string? name in names)
        {
            if (name is null) used.UnionWith(_active);
            else if (name == RowAdapters.Base) continue;
            else if (_adapters.ContainsKey(name)) used.Add(name);
            else throw Unknown(name);
        }
        foreach (string name in used)
        {
            LoraAdapter adapter = _adapters[name];
            string? obstacle = adapter.Layers.Values.Any(l => l.Magnitude is not null) ? "uses DoRA"
                : adapter.Overrides.Count > 0 ? "trains whole modules or base biases" : adapter.Standins.Count > 0 ? "has a quantised base of its own" : adapter.Parts.Select(p => p.RowObstacle).FirstOrDefault(o => o is not null);
            if (obstacle is not null) throw new LoraNetException($"The adapter '{name}' {obstacle}, so it cannot be chosen row by row.", "Run its rows in a batch of their own with SetAdapter.");
        }
        Action back = Back();
        Apply([.. _adapters.Keys.Where(used.Contains)]);
        return new Restore(back);
    }

    private LoraNetException Unknown(string name) =>
        new($"No adapter is called '{name}'.", _adapters.Count == 0 ? "None is attached (a merged model has none)." : $"Attached: {string.Join(", ", _adapters.Keys)}.");

    private void Apply() => Apply(_active);

    /// <summary>Makes the active adapters active again as they are now, and with them <see cref="Version"/>.</summary>
    private Action Back()
    {
        (int version, int switches) = (Version, _switches);
        return () =>
        {
            Apply();
            if (_switches == switches) Version = version;
        };
    }

    /// <summary>Differs whenever other layers are active: recorded work then does not stand for the model. After a while without adapters
    /// or with others it is what it was before.</summary>
    internal int Version { get; private set; }

    private void Apply(List<string> names)
    {
        Version = ++_versions;
        foreach (Module module in _order)
        {
            if (module is LinearModule linear)
            {
                linear.Active.Clear();
                linear.Methods.Clear();
            }
            if (module is EmbeddingModule embedding) embedding.Active.Clear();
            foreach (BaseTensor tensor in module.Tensors)
            {
                tensor.Override = null;
                tensor.Standin = null;
            }
        }
        if (_disabled) return;
        foreach (string name in names)
        {
            LoraAdapter adapter = _adapters[name];
            foreach ((string path, LoraLayer layer) in adapter.Layers)
            {
                if (_modules[path] is LinearModule linear)
                {
                    linear.Active.Add(layer);
                    if (layer.Initial is not null) linear.Active.Add(layer.Initial);
                }
                else ((EmbeddingModule)_modules[path]).Active.Add(layer);
            }
            foreach (AdapterPart part in adapter.Parts) part.Activate(this);
            foreach ((BaseTensor tensor, Weight weight) in adapter.Standins)
            {
                if (tensor.Standin is not null) throw new LoraNetException($"Two active adapters have a quantised '{tensor.Name}' of their own.", "Activate only one of them.");
                tensor.Standin = weight;
            }
            foreach ((BaseTensor tensor, Parameter copy) in adapter.Overrides)
            {
                if (tensor.Override is not null) throw new LoraNetException($"Two active adapters replace '{tensor.Name}'.", "Activate only one of them.");
                tensor.Override = copy;
            }
        }
    }

    private protected sealed class Restore(Action action) : IDisposable
    {
        private Action? _action = action;

        public void Dispose()
        {
            _action?.Invoke();
            _action = null;
        }
    }
}
